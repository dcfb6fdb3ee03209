package imports

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

const root = "github.com/instarhq/instar"

// Package is what `go list -json` says of one package, as far as the rules need it.
type Package struct {
	ImportPath string
	Standard   bool
	Imports    []string // direct
	Deps       []string // transitive
}

// Rule bans imports for all packages that match one of its patterns.
type Rule struct {
	// Of names the packages that are held to the rule; a pattern that ends with /... includes
	// everything below, and one with a leading ! takes packages out again.
	Of []string
	// Direct limits the rule to a package's own imports.
	Direct bool
	// Ban lists what they may not reach. The pattern "third-party" stands for everything outside of the
	// standard library.
	Ban []string
	// Allow lists exceptions from Ban.
	Allow  []string
	Reason string
}

// Rules are the import rules of instar.
var Rules = []Rule{
	{
		Of:     []string{root + "/sdk/...", root + "/plugins/..."},
		Ban:    []string{root + "/core/...", root + "/raftstore/..."},
		Reason: "a driver is written against the sdk alone; what it needs beyond that no vendor could have",
	},
	{
		Of:     []string{root + "/core"},
		Ban:    []string{"third-party"},
		Reason: "core holds the nouns that everything speaks; a dependency of theirs would be everybody's",
	},
	{
		Of:     []string{root + "/core/...", "!" + root + "/core/daemon/..."},
		Ban:    []string{root + "/raftstore/..."},
		Reason: "only the daemon knows which store it runs on; everything else takes the port in core",
	},
	{
		Of:     []string{root + "/core/rollout/...", root + "/core/place/..."},
		Direct: true,
		Ban:    []string{"net", "net/...", "os", "os/...", "time/tzdata", "math/rand", "math/rand/v2"},
		Reason: "the planners are pure, so that tables and properties can test every situation",
	},
	{
		Of:     []string{root + "/core/rollout/...", root + "/core/place/..."},
		Ban:    []string{"third-party", "net", "net/http", "os/exec"},
		Allow:  []string{root + "/core"},
		Reason: "a pure planner needs the nouns and nothing else",
	},
	{
		Of:     []string{root + "/raftstore/fsm/..."},
		Direct: true,
		Ban:    []string{"net", "net/...", "math/rand", "math/rand/v2", "crypto/rand"},
		Reason: "apply must come to the same result on every node: no network, no chance",
	},
	{
		Of:  []string{root + "/cmd/instar/..."},
		Ban: []string{root + "/..."},
		Allow: []string{
			root + "/core", root + "/core/api/client", root + "/core/spec", root + "/core/audit", root + "/core/audit/...",
			root + "/core/snapshot/container", // files are inspected and verified offline, as exports of the log are
			root + "/cmd/instar/...",
			// driver install and remove work on this machine, with or without a daemon.
			root + "/core/driverhost/lockfile", root + "/core/daemon/nodeconfig",
			// driver verify runs the conformance suites on a vendor's binary, without any daemon.
			root + "/sdk/...", root + "/sdk",
		},
		Reason: "the client speaks the API and nothing else, so that anybody could write another one",
	},
	{
		Of: []string{
			root + "/...", "!" + root + "/core/coretest/...", "!" + root + "/core/api/apitest", "!" + root + "/sdk/sdktest/...", "!" + root + "/e2e/...",
			"!" + root + "/plugins/compute/docker/dockertest",
		},
		Direct: true,
		Ban:    []string{"testing"},
		Reason: "test helpers belong into _test.go files or …test packages",
	},
}

// helperFolders are package names that say nothing about what is inside.
var helperFolders = []string{"util", "utils", "common", "pkg", "shared", "helpers", "helper", "misc"}

// Violation is one broken rule.
type Violation struct {
	Package, Reaches, Reason string
}

func (v Violation) String() string {
	if v.Reaches == "" {
		return fmt.Sprintf("%s: %s", v.Package, v.Reason)
	}
	return fmt.Sprintf("%s reaches %s: %s", v.Package, v.Reaches, v.Reason)
}

// Check returns all violations of the rules by the packages of this repository among all, which holds
// their dependencies, too.
func Check(all []Package, rules []Rule) []Violation {
	standard := make(map[string]bool, len(all))
	for _, p := range all {
		standard[p.ImportPath] = p.Standard
	}
	var found []Violation
	for _, p := range all {
		if !matches(root+"/...", p.ImportPath) {
			continue
		}
		if slices.Contains(helperFolders, path.Base(p.ImportPath)) {
			found = append(found, Violation{Package: p.ImportPath, Reason: "a package is named after what it holds"})
		}
		for _, rule := range rules {
			if rule.holds(p.ImportPath) {
				found = append(found, rule.check(p, standard)...)
			}
		}
	}
	return found
}

func (r Rule) holds(importPath string) bool {
	held := false
	for _, pattern := range r.Of {
		if without, ok := strings.CutPrefix(pattern, "!"); ok {
			held = held && !matches(without, importPath)
			continue
		}
		held = held || matches(pattern, importPath)
	}
	return held
}

func (r Rule) check(p Package, standard map[string]bool) []Violation {
	reached := p.Deps
	if r.Direct {
		reached = p.Imports
	}
	var found []Violation
	for _, dep := range reached {
		banned := slices.ContainsFunc(r.Ban, func(pattern string) bool {
			if pattern == "third-party" {
				return !standard[dep]
			}
			return matches(pattern, dep)
		})
		allowed := slices.ContainsFunc(r.Allow, func(pattern string) bool { return matches(pattern, dep) })
		if banned && !allowed {
			found = append(found, Violation{Package: p.ImportPath, Reaches: dep, Reason: r.Reason})
		}
	}
	return found
}

func matches(pattern, importPath string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return importPath == below || strings.HasPrefix(importPath, below+"/")
	}
	return importPath == pattern
}
