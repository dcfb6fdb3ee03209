package spec

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/instarhq/instar/core"
)

// Bounds of a service.
const (
	MaxCount     = 100000
	MaxCPU       = 1000 * 1000 // thousandths of a core
	MinMemory    = 1 << 20
	MaxMemory    = 1 << 50
	MaxSpecBytes = core.MaxValueBytes - 16<<10 // JSON of a spec; the rest is the revision's envelope
	// MaxConfigBytes is the content of one config, which is stored as base64 within JSON.
	MaxConfigBytes = (core.MaxValueBytes - 4<<10) / 4 * 3
)

// maxRoutes bounds the routes of a set, each of which is compared with the others on its port.
const maxRoutes = 2000

// checker collects the faults of one set.
type checker struct {
	set     core.Set
	digests map[string]core.Digest // of the configs, by name
	faults  []fault
}

// checkSet finds what is wrong with a normalised set, apart from the drivers' configuration.
func checkSet(set core.Set) []fault {
	c := &checker{set: set, digests: make(map[string]core.Digest, len(set.Configs))}
	routes := 0
	for i := range set.Services {
		routes += len(set.Services[i].Spec.Routes)
	}
	switch {
	case len(set.Services)+len(set.Configs) > maxBlocks:
		c.add("Too many objects", fmt.Sprintf("A set has at most %d services and configs.", maxBlocks))
		return c.faults
	case routes > maxRoutes:
		c.add("Too many routes", fmt.Sprintf("A set has at most %d routes, not %d.", maxRoutes, routes))
		return c.faults
	}
	c.configs()
	seen := map[string]bool{}
	for i := range set.Services {
		d := &set.Services[i]
		if seen[d.Name] {
			c.add("Declared twice", fmt.Sprintf("The set has two services named %q.", d.Name), "service", d.Name)
			continue
		}
		seen[d.Name] = true
		s := serviceChecker{checker: c, name: d.Name, spec: &d.Spec}
		s.check(d.Count)
	}
	c.routes()
	return c.faults
}

func (c *checker) add(summary, detail string, path ...string) {
	c.faults = append(c.faults, fault{path, summary, detail})
}

func (c *checker) checkName(what, name string, path ...string) {
	if err := core.CheckName(what, name); err != nil {
		c.add("Invalid name", sentence(err.Error()), path...)
	}
}

func (c *checker) configs() {
	seen := map[string]bool{}
	for i := range c.set.Configs {
		cfg := &c.set.Configs[i]
		c.checkName("config", cfg.Name, "config", cfg.Name, "name")
		if seen[cfg.Name] {
			c.add("Declared twice", fmt.Sprintf("The set has two configs named %q.", cfg.Name), "config", cfg.Name)
		}
		seen[cfg.Name] = true
		c.digests[cfg.Name] = cfg.Digest
		if cfg.Format != core.Format {
			c.add("Unknown format", fmt.Sprintf("The config has format %d, this instar knows format %d.", cfg.Format, core.Format), "config", cfg.Name)
		}
		if got := core.DigestBytes(cfg.Data); cfg.Digest != got {
			c.add("Wrong digest", fmt.Sprintf("The config says that its digest is %q, but that of its data is %q.", cfg.Digest, got), "config", cfg.Name, "digest")
		}
		if len(cfg.Data) > MaxConfigBytes {
			c.add("Too large", fmt.Sprintf("The config has %s, a config has at most %s. Larger things belong into the artifact.",
				sizeText(int64(len(cfg.Data))), sizeText(MaxConfigBytes)), "config", cfg.Name, "data")
		}
	}
}

// routes checks what routes of different services share: their names and their listeners.
func (c *checker) routes() {
	type owned struct {
		service string
		route   *core.RouteSpec
	}
	var all []owned
	names := map[string]string{}
	for i := range c.set.Services {
		d := &c.set.Services[i]
		for j := range d.Spec.Routes {
			r := &d.Spec.Routes[j]
			if first, twice := names[r.Name]; twice {
				c.add("Declared twice", fmt.Sprintf("The service %q has a route %q already: names of routes are unique in the cluster.", first, r.Name),
					"service", d.Name, "route", r.Name)
				continue
			}
			names[r.Name] = d.Name
			all = append(all, owned{d.Name, r})
		}
	}
	byPort := map[string][]owned{}
	for _, o := range all {
		_, port, ok := splitListen(o.route.Listen)
		if !ok {
			continue
		}
		key := o.route.Driver + "\x00" + port
		for _, other := range byPort[key] {
			if reason := RouteConflict(other.route, o.route); reason != "" {
				c.add("Conflicting listeners", fmt.Sprintf("It conflicts with the route %q of service %q: %s.", other.route.Name, other.service, reason),
					"service", o.service, "route", o.route.Name, "listen")
				break
			}
		}
		byPort[key] = append(byPort[key], o)
	}
}

// serviceChecker checks one service of the set.
type serviceChecker struct {
	*checker
	name string
	spec *core.Spec
}

// fault adds a fault at a path within the service.
func (s *serviceChecker) fault(summary, detail string, path ...string) {
	s.add(summary, detail, below(pathOf("service", s.name), path...)...)
}

func (s *serviceChecker) check(count int) {
	s.checkName("service", s.name, "service", s.name, "name")
	if count < 0 || count > MaxCount {
		s.fault("Out of range", fmt.Sprintf("A service has 0 to %d instances, not %d.", MaxCount, count), "count")
	}
	s.artifact()
	s.compute()
	s.ports()
	s.resources()
	s.env()
	s.mounts()
	s.health()
	s.routeSpecs()
	s.rollout()
	s.placement()
	s.duration("grace", s.spec.Grace, time.Millisecond, 24*time.Hour, "grace")
	data, err := json.Marshal(s.spec)
	switch {
	case err != nil:
		s.fault("Not representable", sentence(err.Error()))
	case len(data) > MaxSpecBytes:
		s.fault("Too large", fmt.Sprintf("The service takes %s, at most %s can be stored.", sizeText(int64(len(data))), sizeText(MaxSpecBytes)))
	}
}

func (s *serviceChecker) duration(name string, d core.Duration, least, most time.Duration, path ...string) {
	if d.Std() < least || d.Std() > most {
		s.fault("Out of range", fmt.Sprintf("%q must be between %s and %s, not %s.", name, durationText(least), durationText(most), d), path...)
	}
}

// durationText leaves out the zero units that Go prints: "24h" for "24h0m0s".
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (s *serviceChecker) artifact() {
	a := s.spec.Artifact
	if a.Checksum != "" && !digestRE.MatchString(a.Checksum) {
		s.fault("Invalid checksum", fmt.Sprintf(`A checksum is "sha256:" and 64 hexadecimal digits, not %q.`, a.Checksum), "artifact", "checksum")
	}
	if a.Checksum != "" && a.Source == "" {
		s.fault("Missing source", "A checksum without a source says nothing.", "artifact", "checksum")
	}
	if a.Digest != "" {
		s.fault("Unexpected digest", "The digest of an artifact is pinned by the server, not declared.", "artifact", "digest")
	}
	if strings.ContainsFunc(a.Source, unicode.IsControl) {
		s.fault("Invalid source", "The source of an artifact has no control characters.", "artifact", "source")
	}
}

func (s *serviceChecker) compute() {
	c := s.spec.Compute
	s.checkName("driver", c.Driver, "service", s.name, "compute", "driver")
	if c.Target != "" {
		s.checkName("target", c.Target, "service", s.name, "compute", "target")
	}
	s.config(c.Config, true, "compute", "config")
}

// config checks that a driver's configuration is a JSON object; placeholders are replaced in that of
// compute drivers only.
func (s *serviceChecker) config(config []byte, replaced bool, path ...string) {
	if len(config) == 0 {
		return
	}
	plain, err := parseJSON(config)
	object, ok := plain.(map[string]any)
	if err != nil || !ok {
		s.fault("Invalid driver configuration", "It is not a JSON object.", path...)
		return
	}
	if !replaced {
		return
	}
	for _, name := range keysOf(object) {
		eachString(object[name], func(text string) { s.placeholders(text, below(path, name)...) })
	}
}

func eachString(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []any:
		for _, e := range v {
			eachString(e, do)
		}
	case map[string]any:
		for _, k := range keysOf(v) {
			eachString(v[k], do)
		}
	}
}

var placeholderRE = regexp.MustCompile(`\$\{(port|instance)\.([^}]*)\}`)

// placeholders checks that a string that a driver will expand names only what there is.
func (s *serviceChecker) placeholders(text string, path ...string) {
	for _, m := range placeholderRE.FindAllStringSubmatch(text, -1) {
		switch {
		case m[1] == rootInstance && m[2] != "id":
			s.fault("Unknown placeholder", fmt.Sprintf("%s is nothing that an instance has: there is %s.", m[0], InstancePlaceholder), path...)
		case m[1] == rootPort && !s.hasPort(m[2]):
			s.fault("Unknown port", s.unknownPort(m[2]), path...)
		}
	}
}

func (s *serviceChecker) hasPort(name string) bool {
	return slices.ContainsFunc(s.spec.Ports, func(p core.Port) bool { return p.Name == name })
}

func (s *serviceChecker) unknownPort(name string) string {
	known := make([]string, 0, len(s.spec.Ports))
	for _, p := range s.spec.Ports {
		known = append(known, p.Name)
	}
	if name == "" {
		return "It does not say which port."
	}
	return fmt.Sprintf("The service has no port %q.%s", name, suggest(name, known))
}
