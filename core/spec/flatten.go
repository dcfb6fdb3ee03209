package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/instarhq/instar/core"
)

// leaf is one attribute of a flattened spec.
type leaf struct {
	section     section
	path, value string
}

// section is a part of a spec, in the order in which differences are listed.
type section int

const (
	sectionArtifact section = iota
	sectionDriver
	sectionCompute
	sectionPort
	sectionResources
	sectionEnv
	sectionMount
	sectionHealth
	sectionRoute
	sectionRollout
	sectionGrace
	sectionPlacement
)

// flattener lists the attributes of a spec.
type flattener struct {
	section section
	leaves  []leaf
}

func flatten(s *core.Spec) []leaf {
	if s == nil {
		return nil
	}
	f := &flattener{}
	f.word("artifact.source", quoted(s.Artifact.Source))
	f.word("artifact.checksum", s.Artifact.Checksum)
	f.word("artifact.digest", string(s.Artifact.Digest))
	f.section = sectionDriver
	f.word("compute.driver", s.Compute.Driver)
	f.word("compute.target", s.Compute.Target)
	f.section = sectionCompute
	f.config("compute", s.Compute.Config)
	f.section = sectionPort
	for _, p := range s.Ports {
		number := "any"
		if p.Number != 0 {
			number = strconv.Itoa(p.Number)
		}
		f.word("port"+step(p.Name), number)
	}
	f.section = sectionResources
	f.number("resources.cpu", s.Resources.CPU)
	f.number("resources.memory", s.Resources.Memory)
	f.section = sectionEnv
	for _, name := range keysOf(s.Env) {
		f.add("env"+step(name), quote(s.Env[name]))
	}
	f.section = sectionMount
	for _, m := range s.Mounts {
		f.add("mount."+m.Path, core.ConfigID(m.Config, m.Digest))
	}
	f.section = sectionHealth
	for i := range s.Health {
		f.health(fmt.Sprintf("health[%d]", i), &s.Health[i])
	}
	f.section = sectionRoute
	for i := range s.Routes {
		f.route("route"+step(s.Routes[i].Name), &s.Routes[i])
	}
	f.section = sectionRollout
	f.rollout(&s.Rollout)
	f.section = sectionGrace
	f.duration("grace", s.Grace)
	f.section = sectionPlacement
	f.placement(s)
	return f.leaves
}

func (f *flattener) add(path, value string) {
	f.leaves = append(f.leaves, leaf{f.section, path, value})
}

// word adds a value whose empty form means that there is none.
func (f *flattener) word(path, value string) {
	if value != "" {
		f.add(path, value)
	}
}

func (f *flattener) number(path string, n int64) {
	if n != 0 {
		f.add(path, strconv.FormatInt(n, 10))
	}
}

// duration adds one that is set: those that are not are zero.
func (f *flattener) duration(path string, d core.Duration) {
	if d != 0 {
		f.add(path, d.String())
	}
}

func (f *flattener) status(path string, status []int) {
	words := make([]string, len(status))
	for i, code := range status {
		words[i] = strconv.Itoa(code)
	}
	f.word(path, strings.Join(words, " "))
}

func (f *flattener) health(at string, h *core.HealthCheck) {
	f.word(at+".type", string(h.Type))
	f.word(at+".port", h.Port)
	f.word(at+".path", quoted(h.Path))
	f.status(at+".status", h.Status)
	f.duration(at+".interval", h.Interval)
	f.duration(at+".timeout", h.Timeout)
	f.duration(at+".healthy_for", h.HealthyFor)
	f.number(at+".failures", int64(h.Failures))
}

func (f *flattener) route(at string, r *core.RouteSpec) {
	f.word(at+".driver", r.Driver)
	f.word(at+".target", r.Target)
	f.word(at+".listen", r.Listen)
	f.word(at+".protocol", string(r.Protocol))
	f.word(at+".host", r.Host)
	f.word(at+".path", quoted(r.Path))
	f.word(at+".port", r.Port)
	if r.TLS != nil {
		f.add(at+".tls.certificate", quote(r.TLS.Certificate))
		f.add(at+".tls.key", quote(r.TLS.Key))
	}
	f.duration(at+".drain", r.Drain)
	f.config(at+".config", r.Config)
}

func (f *flattener) rollout(r *core.RolloutSpec) {
	f.word("rollout.strategy", string(r.Strategy))
	f.duration("rollout.bake", r.Bake)
	f.duration("rollout.keep_previous", r.KeepPrevious)
	f.duration("rollout.progress_deadline", r.ProgressDeadline)
	if r.MaxErrorRate != 0 {
		f.add("rollout.max_error_rate", strconv.FormatFloat(r.MaxErrorRate, 'g', -1, 64))
	}
	f.word("rollout.max_surge", string(r.MaxSurge))
	f.word("rollout.max_unavailable", string(r.MaxUnavailable))
	for i := range r.Smoke {
		c, at := &r.Smoke[i], fmt.Sprintf("rollout.smoke[%d]", i)
		f.word(at+".route", c.Route)
		f.word(at+".method", c.Method)
		f.word(at+".path", quoted(c.Path))
		f.status(at+".status", c.Status)
		f.word(at+".contains", quoted(c.Contains))
		f.duration(at+".timeout", c.Timeout)
	}
}

// config adds a driver's configuration, attribute by attribute.
func (f *flattener) config(at string, config []byte) {
	if len(config) == 0 {
		return
	}
	plain, err := parseJSON(config)
	object, ok := plain.(map[string]any)
	if err != nil || !ok {
		f.add(at+".config", string(config))
		return
	}
	for _, name := range keysOf(object) {
		where := at + step(name)
		if at == "compute" && (name == "driver" || name == "target" || name == "config") {
			where = "compute.config" + step(name) // the core's own attributes have these paths
		}
		f.value(where, object[name])
	}
}

// value adds a JSON value: strings in quotes, so that "5" and 5 differ.
func (f *flattener) value(at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range keysOf(v) {
			f.value(at+step(name), v[name])
		}
		if len(v) == 0 {
			f.add(at, "{}")
		}
	case []any:
		for i := range v {
			f.value(fmt.Sprintf("%s[%d]", at, i), v[i])
		}
		if len(v) == 0 {
			f.add(at, "[]")
		}
	case string:
		f.add(at, quote(v))
	case nil:
		f.add(at, "null")
	default:
		f.add(at, fmt.Sprint(v))
	}
}

var plainStep = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// step writes a name as a further step of a path.
func step(name string) string {
	if plainStep.MatchString(name) {
		return "." + name
	}
	return "[" + quote(name) + "]"
}

func quote(s string) string {
	data, err := encodeJSON(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(data)
}

// quoted is quote, but nothing for an attribute that is not there.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return quote(s)
}
