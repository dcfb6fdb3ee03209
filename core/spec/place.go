package spec

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// fault is something wrong with a set, found by the checks that client and server share.
type fault struct {
	path    []string // "service", "web", "port", "http", "number"
	summary string
	detail  string // whole sentences
}

// pathOf makes the path of a fault.
func pathOf(steps ...string) []string { return steps }

// below is the path of something within path.
func below(path []string, steps ...string) []string {
	return slices.Concat(path, steps)
}

// where writes the path for a person: `service "web", port "http", number`.
func (f fault) where() string {
	var b strings.Builder
	for i := 0; i < len(f.path); i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.path[i])
		if labelled[f.path[i]] && i+1 < len(f.path) {
			i++
			b.WriteString(` "` + f.path[i] + `"`)
		}
	}
	return b.String()
}

// labelled are the steps after which a name follows.
var labelled = map[string]bool{
	"service": true, "config": true, "port": true, "mount": true, "health": true, "route": true, "smoke": true, "env": true,
}

// places remembers where in the files the parts of a set were declared.
type places map[string]hcl.Range

func (p places) put(rng hcl.Range, path ...string) { p[strings.Join(path, "\x00")] = rng }

// find returns the place of a path or of the nearest part around it; false if there is none.
func (p places) find(path []string) (hcl.Range, bool) {
	for n := len(path); n > 0; n-- {
		if rng, ok := p[strings.Join(path[:n], "\x00")]; ok {
			return rng, true
		}
	}
	return hcl.Range{}, false
}

func (p places) diagnostic(f fault) *hcl.Diagnostic {
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: f.summary, Detail: f.detail}
	if rng, ok := p.find(f.path); ok {
		d.Subject = rng.Ptr()
	}
	return d
}

// exact returns the place of exactly this path.
func (p places) exact(path []string) (hcl.Range, bool) {
	rng, ok := p[strings.Join(path, "\x00")]
	return rng, ok
}
