package core_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "web-2": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a-": false, "Web": false, "a_b": false, "a.b": false, "ä": false, strings.Repeat("a", 64): false,
	} {
		if err := core.CheckName("service", name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCheckFormat(t *testing.T) {
	if err := core.CheckFormat(core.KindService, "web", core.Format); err != nil {
		t.Error(err)
	}
	err := core.CheckFormat(core.KindService, "web", core.Format+1)
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), `"web"`) {
		t.Errorf("a newer format: %v", err)
	}
}

// What is stored comes back as it was, and phases are stored by name.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := core.Rollout{
			Phase:    rapid.SampledFrom([]core.RolloutPhase{core.RolloutProvisioning, core.RolloutBaking, core.RolloutRolledBack}).Draw(r, "phase"),
			Started:  time.Unix(rapid.Int64Range(0, 1<<33).Draw(r, "started"), 0).UTC(),
			Deadline: time.Time{},
		}
		spec := core.RolloutSpec{Bake: core.Duration(rapid.Int64Range(0, 1<<50).Draw(r, "bake"))}
		var out core.Rollout
		var specOut core.RolloutSpec
		for from, to := range map[any]any{&in: &out, &spec: &specOut} {
			data, err := json.Marshal(from)
			if err != nil {
				r.Fatal(err)
			}
			if err := json.Unmarshal(data, to); err != nil {
				r.Fatalf("%s: %v", data, err)
			}
		}
		if out.Phase != in.Phase || !out.Started.Equal(in.Started) || !out.Deadline.IsZero() || specOut.Bake != spec.Bake {
			r.Fatalf("%+v became %+v", in, out)
		}
	})
}

func TestPhasesRefuseTheUnknown(t *testing.T) {
	var p core.RolloutPhase
	if err := p.UnmarshalText([]byte("sideways")); err == nil {
		t.Error("an unknown phase is read")
	}
	if _, err := core.InstancePhase(11).MarshalText(); err == nil {
		t.Error("a phase without a name is stored")
	}
	if got := core.InstancePhase(11).String(); got != "phase(11)" {
		t.Errorf("it shows as %q", got)
	}
}

func TestHash(t *testing.T) {
	var h core.Hash
	text := strings.Repeat("ab", 32)
	if err := h.UnmarshalText([]byte(text)); err != nil || h.String() != text {
		t.Errorf("%s, %v", h, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("zz", 32), text + "00"} {
		if err := h.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
}

func TestDigest(t *testing.T) {
	d := core.DigestBytes([]byte("abc"))
	if d != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" || d.Short() != "ba7816bf8f01" {
		t.Errorf("%s, %s", d, d.Short())
	}
	a, err := core.DigestJSON(core.Spec{Env: map[string]string{"A": "1", "B": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := core.DigestJSON(core.Spec{Env: map[string]string{"B": "2", "A": "1"}}); a != b {
		t.Error("the digest depends on the order of a map")
	}
}
