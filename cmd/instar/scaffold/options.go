package scaffold

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
)

// Kinds are the kinds of drivers that there are templates for.
var Kinds = []core.DriverKind{core.DriverCompute, core.DriverTraffic, core.DriverMetrics}

// Options say what to write.
type Options struct {
	Name   string // of the driver, as in instar-KIND-NAME
	Kind   core.DriverKind
	Module string // path of the module; empty: example.com/instar-KIND-NAME
	Dir    string // where to write it; made, and empty if it is there. Empty: instar-KIND-NAME
	SDK    SDK
}

// SDK says which sdk the module requires.
type SDK struct {
	Version string // "v1.2.3"; with Replace any version will do, and it may be empty
	Replace string // path of a checkout's sdk, as the module's go.mod is to have it; empty: the released one
}

// noVersion is what a module requires of an sdk that it replaces.
const noVersion = "v0.0.0-00010101000000-000000000000"

// Binary is what the driver's file must be called.
func (o Options) Binary() string { return "instar-" + string(o.Kind) + "-" + o.Name }

// UsesSys reports whether the template needs golang.org/x/sys itself.
func (o Options) UsesSys() bool { return o.Kind == core.DriverCompute }

// Owner is whose repository releases go to: that of the module, if it is at GitHub.
func (o Options) Owner() string {
	if owner, _, ok := o.github(); ok {
		return owner
	}
	return "example"
}

// Repository is where releases go to.
func (o Options) Repository() string {
	if _, name, ok := o.github(); ok {
		return name
	}
	return o.Binary()
}

func (o Options) github() (owner, name string, ok bool) {
	parts := strings.Split(o.Module, "/")
	if len(parts) < 3 || parts[0] != "github.com" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

var (
	modulePath = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9._~]*(/[a-zA-Z0-9][-a-zA-Z0-9._~]*)*$`)
	sdkVersion = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)
)

// complete fills in defaults and refuses what cannot become a module.
func (o Options) complete() (Options, error) {
	if !slices.Contains(Kinds, o.Kind) {
		return o, core.Errorf(core.CodeInvalid, "there is no kind of driver %q", o.Kind).WithHint("-kind compute, -kind traffic or -kind metrics")
	}
	if err := core.CheckName("driver", o.Name); err != nil {
		return o, err
	}
	if o.Dir == "" {
		o.Dir = o.Binary()
	}
	if o.Module == "" {
		o.Module = "example.com/" + o.Binary()
	}
	if !modulePath.MatchString(o.Module) || path.Clean(o.Module) != o.Module || strings.HasSuffix(o.Module, ".") {
		return o, core.Errorf(core.CodeInvalid, "%q is no path of a Go module", o.Module).WithHint("as in -module github.com/acme/%s", o.Binary())
	}
	switch {
	case o.SDK.Replace != "" && strings.ContainsAny(o.SDK.Replace, "\n\"`'"):
		return o, core.Errorf(core.CodeInvalid, "a go.mod cannot hold the path %q", o.SDK.Replace)
	case o.SDK.Replace != "" && o.SDK.Version == "":
		o.SDK.Version = noVersion
	case !sdkVersion.MatchString(o.SDK.Version):
		return o, core.Errorf(core.CodeInvalid, "%q is no version of the sdk", o.SDK.Version).WithHint("as in -sdk v1.2.3, or -sdk DIR for that of a checkout")
	}
	if strings.ContainsAny(o.SDK.Replace, " \t") {
		o.SDK.Replace = fmt.Sprintf("%q", o.SDK.Replace)
	}
	return o, nil
}
