package spec

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// The defaults of a service.
const (
	defaultCount        = 1
	defaultGrace        = 10 * time.Second
	defaultInterval     = 5 * time.Second
	defaultTimeout      = 2 * time.Second
	defaultHealthyFor   = 5 * time.Second
	defaultFailures     = 3
	defaultDrain        = 30 * time.Second
	defaultBake         = 30 * time.Second
	defaultKeep         = time.Hour
	defaultProgress     = 10 * time.Minute
	defaultSmokeTimeout = 5 * time.Second
	defaultSurge        = core.Bound("25%")
	defaultTraffic      = "proxy"
	defaultMethod       = "GET"
	defaultPath         = "/"
)

func defaultRollout() core.RolloutSpec {
	return core.RolloutSpec{
		Strategy:         core.StrategyBlueGreen,
		Bake:             core.Duration(defaultBake),
		KeepPrevious:     core.Duration(defaultKeep),
		ProgressDeadline: core.Duration(defaultProgress),
	}
}

// Normalise brings a declaration into the one form that its digest is taken of: defaults filled in,
// collections sorted, names of hosts and paths in one spelling, configuration as canonical JSON. It is
// idempotent, and leaves alone what the checks will refuse.
//
// A rollout without anything in it gets all defaults. In one that says something, zero is a value for
// bake (no bake) and keep_previous (retire at once), and stays.
func Normalise(d *core.Declared) {
	s := &d.Spec
	s.Artifact.Checksum = strings.ToLower(s.Artifact.Checksum)
	s.Compute.Config = normalConfig(s.Compute.Config)
	s.Ports = sorted(s.Ports, func(a, b core.Port) int { return strings.Compare(a.Name, b.Name) })
	if len(s.Env) == 0 {
		s.Env = nil
	}
	s.Mounts = slices.Clone(s.Mounts)
	for i := range s.Mounts {
		s.Mounts[i].Path = cleanPath(s.Mounts[i].Path)
	}
	s.Mounts = sorted(s.Mounts, func(a, b core.Mount) int { return strings.Compare(a.Path, b.Path) })
	s.Health = sorted(s.Health, nil)
	for i := range s.Health {
		normaliseHealth(&s.Health[i])
	}
	s.Routes = sorted(s.Routes, func(a, b core.RouteSpec) int { return strings.Compare(a.Name, b.Name) })
	for i := range s.Routes {
		normaliseRoute(&s.Routes[i])
	}
	normaliseRollout(&s.Rollout)
	normalisePlacement(s)
	s.Grace = defaulted(s.Grace, defaultGrace)
}

// sorted returns a sorted copy, or nil if there is nothing; a nil compare keeps the order.
func sorted[T any](list []T, compare func(a, b T) int) []T {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	if compare != nil {
		slices.SortStableFunc(list, compare)
	}
	return list
}

func defaulted(d core.Duration, fallback time.Duration) core.Duration {
	return cmp.Or(d, core.Duration(fallback))
}

func normaliseHealth(h *core.HealthCheck) {
	if h.Type == core.CheckHTTP {
		h.Path = cmp.Or(h.Path, defaultPath)
	}
	h.Status = normalStatus(h.Status)
	h.Interval = defaulted(h.Interval, defaultInterval)
	h.Timeout = defaulted(h.Timeout, defaultTimeout)
	h.HealthyFor = defaulted(h.HealthyFor, defaultHealthyFor)
	h.Failures = cmp.Or(h.Failures, defaultFailures)
}

func normaliseRoute(r *core.RouteSpec) {
	r.Driver = cmp.Or(r.Driver, defaultTraffic)
	r.Protocol = cmp.Or(r.Protocol, core.ProtocolHTTP)
	r.Listen = strings.ToLower(r.Listen)
	if r.Host = strings.ToLower(r.Host); !strings.HasSuffix(r.Host, "..") {
		r.Host = strings.TrimSuffix(r.Host, ".")
	}
	if strings.HasPrefix(r.Path, "/") {
		r.Path = strings.TrimRight(r.Path, "/") // "/" matches what no path matches
	}
	r.Drain = defaulted(r.Drain, defaultDrain)
	r.Config = normalConfig(r.Config)
}

func normaliseRollout(r *core.RolloutSpec) {
	if r.Strategy == "" && r.Bake == 0 && r.KeepPrevious == 0 && r.ProgressDeadline == 0 && r.MaxErrorRate == 0 && len(r.Smoke) == 0 &&
		r.MaxSurge == "" && r.MaxUnavailable == "" {
		*r = defaultRollout()
	}
	r.Strategy = cmp.Or(r.Strategy, core.StrategyBlueGreen)
	r.ProgressDeadline = defaulted(r.ProgressDeadline, defaultProgress)
	if r.Strategy == core.StrategyRolling {
		r.MaxSurge, r.MaxUnavailable = normalBound(r.MaxSurge, defaultSurge), normalBound(r.MaxUnavailable, "0")
	}
	r.Smoke = sorted(r.Smoke, nil)
	for i := range r.Smoke {
		c := &r.Smoke[i]
		c.Method = cmp.Or(strings.ToUpper(c.Method), defaultMethod)
		c.Path = cmp.Or(c.Path, defaultPath)
		c.Status = normalStatus(c.Status)
		c.Timeout = defaulted(c.Timeout, defaultSmokeTimeout)
	}
}

// normalBound spells none in one way.
func normalBound(b, fallback core.Bound) core.Bound {
	switch b {
	case "":
		return fallback
	case "0%":
		return "0"
	}
	return b
}

func normalStatus(status []int) []int {
	return slices.Compact(sorted(status, cmp.Compare[int]))
}

// normalConfig gives canonical JSON, "{}" for none. What is no JSON stays as it is.
func normalConfig(config []byte) []byte {
	if len(config) == 0 || string(config) == "null" {
		return []byte("{}")
	}
	canonical, err := canonicalJSON(config)
	if err != nil {
		return config
	}
	return canonical
}

// cleanPath spells the path of a mount in one way. Paths that leave the directory stay recognisable.
func cleanPath(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}
