package spec_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

func lines(diffs []core.Diff) string {
	var b strings.Builder
	for _, d := range diffs {
		fmt.Fprintf(&b, "%s: %s → %s\n", d.Path, d.Old, d.New)
	}
	return b.String()
}

func TestDiff(t *testing.T) {
	full := func() *core.Spec {
		sources, diags := spec.Load([]string{"testdata/full"})
		if diags.HasErrors() {
			t.Fatal(text(t, diags, sources.Files()))
		}
		set, diags := sources.Evaluate(spec.Options{Variables: map[string]string{"version": "7"}, Schemas: testDrivers})
		if diags.HasErrors() {
			t.Fatal(text(t, diags, sources.Files()))
		}
		s := set.Services[1].Spec
		s.Artifact.Source = "/a.tar.gz"
		return &s
	}
	a, b := full(), full()
	b.Artifact.Source = "/b.tar.gz"
	b.Artifact.Digest = core.DigestBytes(nil)
	b.Compute.Target = ""
	b.Compute.Config = []byte(`{"command":["./web","-v"],"password":"other","driver":"x","labels":{"a.b":"1"},"extra":{},"nice":"5","user":null}`)
	b.Ports = []core.Port{{Name: "http", Number: 80}, {Name: "new"}}
	b.Resources.CPU = 0
	b.Env = map[string]string{"BANNER": "bye", "EMPTY": ""}
	b.Mounts[1].Digest = core.DigestBytes(nil)
	b.Health = b.Health[:1]
	b.Health[0].Status = nil
	b.Routes[1].TLS = nil
	b.Routes[1].Config = []byte(`{"max_body":1,"token":"t"}`)
	b.Rollout.Bake = core.Duration(time.Minute)
	b.Rollout.MaxErrorRate = 0
	b.Rollout.Smoke = b.Rollout.Smoke[1:]
	sensitive := spec.Sensitive(testDrivers, a, b)
	golden(t, "testdata/diff.txt", lines(spec.Diff(a, b, sensitive)))
	golden(t, "testdata/diff_new.txt", lines(spec.Diff(nil, a, sensitive)))
	if d := spec.Diff(a, a, nil); d != nil {
		t.Errorf("got %v", d)
	}
	if d := spec.Diff(nil, nil, nil); d != nil {
		t.Errorf("got %v", d)
	}
	gone := spec.Diff(a, nil, nil)
	if len(gone) == 0 || gone[0].New != "" || gone[0].Old == "" {
		t.Errorf("got %v", gone)
	}
}

// TestDiffOfForms: what was never normalised still shows that it differs.
func TestDiffOfForms(t *testing.T) {
	a := &core.Spec{Compute: core.Compute{Config: []byte(`{"a":1,"b":2}`)}}
	b := &core.Spec{Compute: core.Compute{Config: []byte(`{"b":2,"a":1}`)}}
	if d := spec.Diff(a, b, nil); len(d) != 1 || d[0].Path != "digest" {
		t.Errorf("got %v", d)
	}
	broken := &core.Spec{Compute: core.Compute{Config: []byte(`{`)}}
	if d := spec.Diff(broken, b, nil); len(d) == 0 {
		t.Errorf("got %v", d)
	}
}

func TestSensitive(t *testing.T) {
	s := &core.Spec{Compute: core.Compute{Driver: "process"}, Routes: []core.RouteSpec{{Name: "web", Driver: "proxy"}, {Name: "x", Driver: "gone"}}}
	is := spec.Sensitive(testDrivers, s, nil, &core.Spec{})
	for path, want := range map[string]bool{
		"compute.password": true, "compute.password[0]": true, "compute.password.a": true, "compute.passwords": false, "compute.command[0]": false,
		"route.web.config.token": true, "route.web.config.max_body": false, "route.web.listen": false, "route.x.config.anything": true, "env.A": false,
	} {
		if is(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
	unknown := spec.Sensitive(testDrivers, &core.Spec{Compute: core.Compute{Driver: "gone"}})
	if !unknown("compute.anything") || unknown("compute.driver") || unknown("compute.target") {
		t.Error("all configuration of an unknown driver is sensitive, its name is not")
	}
}
