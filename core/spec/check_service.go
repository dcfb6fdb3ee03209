package spec

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/instarhq/instar/core"
)

func (s *serviceChecker) ports() {
	seen, numbers := map[string]bool{}, map[int]string{}
	for _, p := range s.spec.Ports {
		s.checkName("port", p.Name, "service", s.name, "port", p.Name, "name")
		if seen[p.Name] {
			s.fault("Declared twice", fmt.Sprintf("The service has two ports named %q.", p.Name), "port", p.Name)
		}
		seen[p.Name] = true
		if p.Number < 0 || p.Number > 65535 {
			s.fault("Out of range", fmt.Sprintf("A port's number is 1 to 65535, or 0 to let the driver choose; not %d.", p.Number), "port", p.Name, "number")
		}
		if other, twice := numbers[p.Number]; twice && p.Number != 0 {
			s.fault("Declared twice", fmt.Sprintf("The port %q has the number %d already.", other, p.Number), "port", p.Name, "number")
		}
		numbers[p.Number] = p.Name
	}
}

func (s *serviceChecker) resources() {
	r := s.spec.Resources
	if r.CPU < 0 || r.CPU > MaxCPU {
		s.fault("Out of range", fmt.Sprintf("cpu is in thousandths of a core: 1 to %d, or 0 for no limit; not %d.", MaxCPU, r.CPU), "resources", "cpu")
	}
	if r.Memory != 0 && (r.Memory < MinMemory || r.Memory > MaxMemory) {
		s.fault("Out of range", fmt.Sprintf(`memory is between %s and %s, or 0 for no limit; not %d bytes. Write it with a unit, as in "64MiB".`,
			sizeText(MinMemory), sizeText(MaxMemory), r.Memory), "resources", "memory")
	}
}

var envRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reservedEnv begins the environment variables that drivers set themselves.
const reservedEnv = "INSTAR_"

func (s *serviceChecker) env() {
	for _, name := range keysOf(s.spec.Env) {
		switch value := s.spec.Env[name]; {
		case !envRE.MatchString(name):
			s.fault("Invalid name", fmt.Sprintf("%q is no name of an environment variable: those have letters, digits and _, and do not begin with a digit.", name), "env", name)
		case strings.HasPrefix(name, reservedEnv):
			s.fault("Reserved name", fmt.Sprintf("%q begins with %s, which is kept for what drivers tell the instance.", name, reservedEnv), "env", name)
		case strings.ContainsRune(value, 0):
			s.fault("Invalid value", "An environment variable cannot hold a NUL character.", "env", name)
		default:
			s.placeholders(value, "env", name)
		}
	}
}

func (s *serviceChecker) mounts() {
	seen := map[string]bool{}
	for _, m := range s.spec.Mounts {
		if why := mountPathFault(m.Path); why != "" {
			s.fault("Invalid path", fmt.Sprintf("A mount's path is relative to the instance's directory and stays within it: %q %s.", m.Path, why), "mount", m.Path, "path")
		}
		if seen[m.Path] {
			s.fault("Declared twice", fmt.Sprintf("Two mounts have the path %q.", m.Path), "mount", m.Path)
		}
		seen[m.Path] = true
		switch digest, ok := s.digests[m.Config]; {
		case !ok:
			s.fault("Unknown config", unknownConfig(s.digests, m.Config), "mount", m.Path, "config")
		case digest != m.Digest:
			s.fault("Wrong digest", fmt.Sprintf("The mount pins the config %q at %q, but the set has it at %q.", m.Config, m.Digest, digest), "mount", m.Path, "digest")
		}
	}
	for _, m := range s.spec.Mounts {
		for dir := path.Dir(m.Path); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if seen[dir] {
				s.fault("Conflicting mounts", fmt.Sprintf("%q is a file by another mount, so nothing can be put below it.", dir), "mount", m.Path)
			}
		}
	}
}

func mountPathFault(p string) string {
	switch {
	case p == "" || p == ".":
		return "names no file"
	case strings.HasPrefix(p, "/"):
		return "is absolute"
	case path.Clean(p) == ".." || strings.HasPrefix(path.Clean(p), "../"):
		return "leaves it"
	case path.Clean(p) != p:
		return fmt.Sprintf("should be written %q", path.Clean(p))
	case strings.ContainsFunc(p, unicode.IsControl):
		return "has control characters"
	case len(p) > 1024:
		return "is longer than 1024 bytes"
	}
	return ""
}

func (s *serviceChecker) health() {
	for i, h := range s.spec.Health {
		at := func(name string) []string { return []string{"health", strconv.Itoa(i), name} }
		switch h.Type {
		case core.CheckHTTP:
			s.requestPath(h.Path, at("path")...)
		case core.CheckTCP:
			if h.Path != "" || len(h.Status) > 0 {
				s.fault("Not for TCP", "A tcp check only connects: path and status belong to an http check.", at("type")...)
			}
		default:
			s.fault("Unknown kind of health check", fmt.Sprintf("A health check is http or tcp, not %q.", h.Type), at("type")...)
		}
		if !s.hasPort(h.Port) {
			s.fault("Unknown port", s.unknownPort(h.Port), at("port")...)
		}
		s.status(h.Status, at("status")...)
		s.duration("interval", h.Interval, 100*time.Millisecond, time.Hour, at("interval")...)
		s.duration("timeout", h.Timeout, time.Millisecond, time.Hour, at("timeout")...)
		s.duration("healthy_for", h.HealthyFor, time.Millisecond, 24*time.Hour, at("healthy_for")...)
		if h.HealthyFor >= s.spec.Rollout.ProgressDeadline {
			s.fault("Never in time", fmt.Sprintf("An instance has to pass for %s (healthy_for), but the rollout is given up after %s (progress_deadline).",
				h.HealthyFor, s.spec.Rollout.ProgressDeadline), at("healthy_for")...)
		}
		if h.Failures < 1 || h.Failures > 100 {
			s.fault("Out of range", fmt.Sprintf("failures is 1 to 100, not %d.", h.Failures), at("failures")...)
		}
	}
}

// requestPath checks the target of an HTTP request: a path, and a query if need be.
func (s *serviceChecker) requestPath(p string, at ...string) {
	if !strings.HasPrefix(p, "/") || len(p) > 4096 || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == '#' || r > '~' }) {
		s.fault("Invalid path", fmt.Sprintf("A request's path begins with / and has neither spaces, # nor characters outside ASCII; not %q. Write others as %%XX.", p), at...)
	}
}

func (s *serviceChecker) status(status []int, at ...string) {
	for _, code := range status {
		if code < 100 || code > 599 {
			s.fault("Out of range", fmt.Sprintf("An HTTP status is 100 to 599, not %d.", code), at...)
		}
	}
}

func (s *serviceChecker) rollout() {
	r := s.spec.Rollout
	at := func(name string) []string { return []string{"rollout", name} }
	switch r.Strategy {
	case core.StrategyBlueGreen:
		s.notRolling(&r)
	case core.StrategyRolling:
		s.rolling(&r)
	default:
		s.fault("Unknown strategy", fmt.Sprintf("This version of instar has the strategies %q and %q, so not %q.",
			core.StrategyBlueGreen, core.StrategyRolling, r.Strategy), at("strategy")...)
	}
	s.duration("bake", r.Bake, 0, 30*24*time.Hour, at("bake")...)
	s.duration("keep_previous", r.KeepPrevious, 0, 366*24*time.Hour, at("keep_previous")...)
	s.duration("progress_deadline", r.ProgressDeadline, time.Second, 7*24*time.Hour, at("progress_deadline")...)
	if !(r.MaxErrorRate >= 0 && r.MaxErrorRate <= 1) {
		s.fault("Out of range", fmt.Sprintf("max_error_rate is a share between 0 and 1, not %v: 5 %% is 0.05.", r.MaxErrorRate), at("max_error_rate")...)
	}
	for i := range r.Smoke {
		s.smoke(i, &r.Smoke[i])
	}
}

// takes reports whether a request for target reaches the route: its path is a prefix at a border of
// segments.
func takes(r *core.RouteSpec, target string) bool {
	requested, _, _ := strings.Cut(target, "?")
	return r.Path == "" || requested == r.Path || strings.HasPrefix(requested, r.Path+"/")
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func (s *serviceChecker) smoke(i int, c *core.SmokeCheck) {
	at := func(name string) []string { return []string{"rollout", "smoke", strconv.Itoa(i), name} }
	var through *core.RouteSpec
	known := make([]string, 0, len(s.spec.Routes))
	for j := range s.spec.Routes {
		known = append(known, s.spec.Routes[j].Name)
		if s.spec.Routes[j].Name == c.Route {
			through = &s.spec.Routes[j]
		}
	}
	switch {
	case through == nil:
		s.fault("Unknown route", fmt.Sprintf("The service has no route %q.%s", c.Route, suggest(c.Route, known)), at("route")...)
	case through.Protocol != core.ProtocolHTTP:
		s.fault("Not for TCP", fmt.Sprintf("A smoke check is an HTTP request, and the route %q has protocol %q.", c.Route, through.Protocol), at("route")...)
	case !takes(through, c.Path):
		s.fault("Not taken by the route", fmt.Sprintf("The route %q takes requests below %s, which %q is not.", c.Route, through.Path, c.Path), at("path")...)
	}
	if !contains(methods, c.Method) {
		s.fault("Unknown method", fmt.Sprintf("%q is none of the methods of a smoke check: %s.", c.Method, strings.Join(methods, ", ")), at("method")...)
	}
	s.requestPath(c.Path, at("path")...)
	s.status(c.Status, at("status")...)
	if len(c.Contains) > 64<<10 {
		s.fault("Too large", "contains has at most 64 KiB.", at("contains")...)
	}
	s.duration("timeout", c.Timeout, time.Millisecond, 10*time.Minute, at("timeout")...)
}
