package spec

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
)

// Redacted is shown in place of sensitive values.
const Redacted = "(sensitive)"

// Diff lists the attributes in which two specs differ, in the order of a declaration: "artifact.digest",
// "compute.command[1]", "env.BANNER", "mount.etc/site.conf". Free text is in quotes, so that an empty
// value and none differ. A nil spec has no attributes. There is no difference if and only if both have
// the same core.DigestJSON. Values of paths that sensitive reports (nil: none) are not shown.
func Diff(older, newer *core.Spec, sensitive func(path string) bool) []core.Diff {
	before, after := flatten(older), flatten(newer)
	was := make(map[string]string, len(before))
	for _, l := range before {
		was[l.path] = l.value
	}
	is := make(map[string]string, len(after))
	for _, l := range after {
		is[l.path] = l.value
	}
	var diffs []core.Diff
	for _, path := range union(before, after) {
		o, hadIt := was[path]
		n, hasIt := is[path]
		if o == n && hadIt == hasIt {
			continue
		}
		if sensitive != nil && sensitive(path) {
			o, n = redact(hadIt), redact(hasIt)
		}
		diffs = append(diffs, core.Diff{Path: path, Old: o, New: n})
	}
	if len(diffs) > 0 {
		return diffs
	}
	return diffDigests(older, newer)
}

func redact(present bool) string {
	if present {
		return Redacted
	}
	return ""
}

// diffDigests catches differences in form alone, between specs that were not normalised.
func diffDigests(older, newer *core.Spec) []core.Diff {
	if older == nil && newer == nil {
		return nil
	}
	o, n := digestText(older), digestText(newer)
	if o == n {
		return nil
	}
	return []core.Diff{{Path: "digest", Old: o, New: n}}
}

func digestText(s *core.Spec) string {
	if s == nil {
		return ""
	}
	digest, err := core.DigestJSON(s)
	if err != nil {
		return err.Error()
	}
	return string(digest)
}

// union gives the paths of both lists, each once, in the order of sections and then of names.
func union(older, newer []leaf) []string {
	all := append(slices.Clone(older), newer...)
	slices.SortStableFunc(all, func(a, b leaf) int {
		return cmp.Or(cmp.Compare(a.section, b.section), strings.Compare(padded(a.path), padded(b.path)))
	})
	paths := make([]string, len(all))
	for i, l := range all {
		paths[i] = l.path
	}
	return slices.Compact(paths)
}

var index = regexp.MustCompile(`\[([0-9]+)\]`)

// padded writes the indexes of a path so that sorting gets them right: [2] before [10].
func padded(path string) string {
	return index.ReplaceAllStringFunc(path, func(s string) string { return fmt.Sprintf("[%012s", s[1:]) })
}

// Sensitive reports which paths of a Diff between these specs hold values that must not be shown: the
// attributes that their drivers' schemas mark, with all that is below them. The configuration of a
// driver that is not known is sensitive as a whole.
func Sensitive(schemas Schemas, specs ...*core.Spec) func(path string) bool {
	var prefixes []string
	mark := func(kind core.DriverKind, driver, at string) {
		if driver == "" {
			return // a spec with nothing in it
		}
		if d, ok := schemas.Driver(kind, driver); ok {
			for _, a := range d.Workload {
				if a.Sensitive {
					prefixes = append(prefixes, at+step(a.Name))
				}
			}
			return
		}
		prefixes = append(prefixes, at)
	}
	for _, s := range specs {
		if s == nil {
			continue
		}
		mark(core.DriverCompute, s.Compute.Driver, "compute")
		mark(core.DriverCompute, s.Compute.Driver, "compute.config") // names that the core has too
		for i := range s.Routes {
			mark(core.DriverTraffic, s.Routes[i].Driver, "route"+step(s.Routes[i].Name)+".config")
		}
	}
	return func(path string) bool {
		if path == "compute.driver" || path == "compute.target" {
			return false // the core's own
		}
		for _, p := range prefixes {
			if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return true
			}
		}
		return false
	}
}
