package spec_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

// wild generates declarations of any content, most of them invalid.
func wild(t *rapid.T) core.Declared {
	d := core.Declared{Name: rapid.String().Draw(t, "name"), Count: rapid.Int().Draw(t, "count")}
	s := &d.Spec
	text := func(name string) string {
		return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "/", "/a//", "a.", "b..", "./x", "../x", "A.Example", "[::1]:80"})).Draw(t, name)
	}
	duration := func(name string) core.Duration {
		return core.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, name))
	}
	status := rapid.SliceOfN(rapid.IntRange(-1, 5), 0, 4)
	config := func(name string) json.RawMessage {
		return json.RawMessage(rapid.SampledFrom([]string{
			"", "null", "{}", `{"b": 1.50, "a": "<\u0041>"}`, `{"x":1e3,"y":-0,"z":[null,{"k":1E-2}]}`, `{"a":1,"a":2}`, `[1]`, `{`, "\xff", `{"n":1e999999}`,
		}).Draw(t, name))
	}
	s.Artifact = core.Artifact{Source: text("source"), Checksum: text("checksum")}
	s.Compute = core.Compute{Driver: text("driver"), Config: config("config")}
	s.Env = rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "env")
	for range rapid.IntRange(0, 3).Draw(t, "lists") {
		s.Ports = append(s.Ports, core.Port{Name: text("port"), Number: rapid.Int().Draw(t, "number")})
		s.Mounts = append(s.Mounts, core.Mount{Config: text("mount"), Path: text("path")})
		s.Health = append(s.Health, core.HealthCheck{
			Type: core.CheckType(rapid.SampledFrom([]string{"http", "tcp", ""}).Draw(t, "type")),
			Path: text("path"), Status: status.Draw(t, "status"), Interval: duration("interval"), HealthyFor: duration("for"),
		})
		s.Routes = append(s.Routes, core.RouteSpec{
			Name: text("route"), Listen: text("listen"), Host: text("host"), Path: text("path"),
			Drain: duration("drain"), Config: config("config"),
		})
		s.Rollout.Smoke = append(s.Rollout.Smoke, core.SmokeCheck{Method: text("method"), Path: text("path"), Status: status.Draw(t, "status")})
	}
	s.Rollout.Bake, s.Rollout.KeepPrevious = duration("bake"), duration("keep")
	s.Rollout.MaxErrorRate = rapid.Float64().Draw(t, "rate")
	return d
}

// TestNormaliseIsAFixedPoint also shows that Normalise leaves its input's shared parts alone.
func TestNormaliseIsAFixedPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := wild(t)
		before := fmt.Sprintf("%#v", d)
		once := d
		spec.Normalise(&once)
		if after := fmt.Sprintf("%#v", d); after != before {
			t.Fatalf("the original changed:\n%s\n%s", before, after)
		}
		twice := once
		spec.Normalise(&twice)
		if !reflect.DeepEqual(once, twice) {
			t.Fatalf("normalised once:\n%#v\ntwice:\n%#v", once, twice)
		}
	})
}

// TestChecksNeverPanic feeds the server's side anything.
func TestChecksNeverPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := core.Set{Configs: []core.Config{{Name: rapid.String().Draw(t, "config")}}}
		for range rapid.IntRange(0, 2).Draw(t, "services") {
			set.Services = append(set.Services, wild(t))
		}
		if err := spec.Validate(set, testDrivers); core.CodeOf(err) != core.CodeInvalid {
			t.Fatalf("validate: %v", err)
		}
		if _, err := spec.Admit(set, testDrivers); core.CodeOf(err) != core.CodeInvalid {
			t.Fatalf("admit: %v", err)
		}
		if a, b := wild(t), wild(t); rapid.Bool().Draw(t, "diff") {
			checkDiff(t, &a.Spec, &b.Spec)
		}
	})
}

// source writes a valid service in HCL, with a random choice of everything that can be left out.
func source(t *rapid.T) string {
	var b strings.Builder
	optional := func(label, line string) {
		if rapid.Bool().Draw(t, label) {
			b.WriteString(line + "\n")
		}
	}
	word := rapid.StringMatching(`[a-z<>&"\\é \x{2028}]{0,6}`)
	fmt.Fprintf(&b, "config \"one\" {\n data = %s\n}\n", literal(word.Draw(t, "data")))
	b.WriteString("service \"web\" {\n")
	optional("count", fmt.Sprintf("count = %d", rapid.IntRange(0, 9).Draw(t, "n")))
	optional("grace", `grace = "1m"`)
	optional("artifact", "artifact {\n source = \"https://example.com/\"\n}")
	fmt.Fprintf(&b, "compute \"process\" {\n command = [%s, \":${port.http}\"]\n", literal(word.Draw(t, "command")))
	optional("nice", fmt.Sprintf("nice = %v", rapid.Float64Range(-1e6, 1e6).Draw(t, "nice")))
	optional("labels", fmt.Sprintf("labels = { (%s) = %s }", literal(word.Draw(t, "key")), literal(word.Draw(t, "value"))))
	optional("extra", "extra = { b = [1.50, 1/3, -0, null], a = true }")
	b.WriteString("}\nport \"http\" {}\n")
	optional("port", "port \"admin\" {\n number = 81\n}")
	optional("resources", "resources {\n cpu = 100\n memory = \"1.5GiB\"\n}")
	optional("env", fmt.Sprintf("env = { A = %s, B = instance.id }", literal(word.Draw(t, "env"))))
	optional("mount", "mount \"config\" {\n config = \"one\"\n path = \"./a//b\"\n}")
	optional("health", "health \"http\" {\n port = \"http\"\n path = \"/h\"\n status = [204, 200]\n}")
	optional("tcp", "health \"tcp\" {\n port = \"http\"\n}")
	b.WriteString("route \"r\" {\n listen = \":80\"\n port = \"http\"\n")
	optional("host", `host = "A.Example."`)
	optional("path", `path = "/x/"`)
	b.WriteString("}\nrollout {\n")
	optional("bake", `bake = "0s"`)
	optional("keep", `keep_previous = "0s"`)
	optional("smoke", "smoke {}")
	b.WriteString(rapid.SampledFrom([]string{
		"", "strategy = \"blue_green\"\n",
		"strategy = \"rolling\"\n", "strategy = \"rolling\"\nmax_surge = 2\n", "strategy = \"rolling\"\nmax_surge = \"0%\"\nmax_unavailable = \"30%\"\n",
	}).Draw(t, "strategy"))
	b.WriteString("}\n}\n")
	return b.String()
}

// literal writes a string as HCL has it.
func literal(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}

// TestClientAndServerAgree: what Evaluate gives passes Validate after its way over the wire, is a fixed
// point of Normalise and Admit, and keeps its digest.
func TestClientAndServerAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		set, sources, diags := tryEvaluate(t, source(rt), spec.Options{})
		if diags.HasErrors() {
			rt.Fatal(text(t, diags, sources.Files()))
		}
		wire, err := json.Marshal(set)
		if err != nil {
			rt.Fatal(err)
		}
		var received core.Set
		if err := json.Unmarshal(wire, &received); err != nil {
			rt.Fatal(err)
		}
		if err := spec.Validate(received, testDrivers); err != nil {
			rt.Fatal(err)
		}
		admitted, err := spec.Admit(received, testDrivers)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(admitted, set) {
			rt.Fatalf("the server sees another set:\n%+v\n%+v", admitted, set)
		}
		normalised := set.Services[0]
		spec.Normalise(&normalised)
		if !reflect.DeepEqual(normalised, set.Services[0]) {
			rt.Fatalf("Evaluate's result is not normalised:\n%+v\n%+v", normalised, set.Services[0])
		}
	})
}

// TestOrderDoesNotMatter: the order of lists and the spelling of JSON do not change the digest.
func TestOrderDoesNotMatter(t *testing.T) {
	set := evaluate(t, readTestFile(t, "testdata/full/b.hcl", `variable "limits" {
  default = { cpu = 1, memory = "64MiB" }
}
locals {
  base   = "x"
  banner = "y"
}
config "site" {
  data = "1"
}
config "logo" {
  data = "2"
}
`), spec.Options{})
	want, err := core.DigestJSON(set)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		mixed := set
		mixed.Services = append([]core.Declared(nil), set.Services...)
		rand.Shuffle(len(mixed.Services), func(i, j int) { mixed.Services[i], mixed.Services[j] = mixed.Services[j], mixed.Services[i] })
		for i := range mixed.Services {
			s := &mixed.Services[i].Spec
			s.Ports, s.Mounts, s.Routes = shuffled(s.Ports), shuffled(s.Mounts), shuffled(s.Routes)
			s.Compute.Config = json.RawMessage(strings.ReplaceAll(string(s.Compute.Config), `"nice":5`, ` "nice" : 5.0`))
		}
		admitted, err := spec.Admit(mixed, testDrivers)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := core.DigestJSON(admitted); got != want {
			t.Fatalf("digest %s, want %s", got, want)
		}
	}
}

func shuffled[T any](list []T) []T {
	list = append([]T(nil), list...)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func checkDiff(t *rapid.T, a, b *core.Spec) {
	da, errA := core.DigestJSON(a)
	db, errB := core.DigestJSON(b)
	if errA != nil || errB != nil {
		return // it cannot be stored
	}
	diffs := spec.Diff(a, b, nil)
	if (len(diffs) == 0) != (da == db) {
		t.Fatalf("digests equal: %v, differences: %v", da == db, diffs)
	}
	seen := map[string]bool{}
	for _, d := range diffs {
		if seen[d.Path] {
			t.Fatalf("%q is listed twice", d.Path)
		}
		if d.Old == d.New {
			t.Fatalf("no difference at all: %+v", d)
		}
		seen[d.Path] = true
	}
}

// TestDiffIffDigest: there are no differences if and only if the digests are equal.
func TestDiffIffDigest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := wild(rt)
		spec.Normalise(&a)
		b := a
		b.Spec.Env = map[string]string{}
		for k, v := range a.Spec.Env {
			b.Spec.Env[k] = v
		}
		switch rapid.IntRange(0, 6).Draw(rt, "change") {
		case 1:
			b.Spec.Env["x"] = rapid.String().Draw(rt, "value")
		case 2:
			b.Spec.Grace += core.Duration(time.Second)
		case 3:
			b.Spec.Artifact.Digest = core.DigestBytes(nil)
		case 4:
			b.Spec.Compute.Config = json.RawMessage(`{"driver":"x","a.b":{"c":[1,"1",null,{},[]]}}`)
		case 5:
			b = wild(rt)
			spec.Normalise(&b)
		case 6:
			b.Spec.Compute.Target = "t"
		}
		checkDiff(rt, &a.Spec, &b.Spec)
		checkDiff(rt, &b.Spec, &a.Spec)
		checkDiff(rt, &a.Spec, &a.Spec)
	})
}
