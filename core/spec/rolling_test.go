package spec_test

import (
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

func TestRollingRollout(t *testing.T) {
	for body, want := range map[string]core.RolloutSpec{
		``:                                   {MaxSurge: "25%", MaxUnavailable: "0"},
		`max_surge = 2`:                      {MaxSurge: "2", MaxUnavailable: "0"},
		`max_surge = "2"`:                    {MaxSurge: "2", MaxUnavailable: "0"},
		`max_unavailable = "30%"`:            {MaxSurge: "25%", MaxUnavailable: "30%"},
		"max_surge = 0\nmax_unavailable = 1": {MaxSurge: "0", MaxUnavailable: "1"},
		"max_surge = \"0%\"\nmax_unavailable = \"100%\"": {MaxSurge: "0", MaxUnavailable: "100%"},
		"keep_previous = \"0s\"":                         {MaxSurge: "25%", MaxUnavailable: "0"},
	} {
		source := strings.Replace(good, "smoke {}", "strategy = \"rolling\"\n"+body, 1)
		set := evaluate(t, source, spec.Options{})
		want.Strategy, want.Bake, want.ProgressDeadline = core.StrategyRolling, core.Duration(30*time.Second), core.Duration(10*time.Minute)
		got := set.Services[0].Spec.Rollout
		if got.Smoke != nil || got.Strategy != want.Strategy || got.Bake != want.Bake || got.KeepPrevious != 0 || got.ProgressDeadline != want.ProgressDeadline ||
			got.MaxSurge != want.MaxSurge || got.MaxUnavailable != want.MaxUnavailable {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
		if err := spec.Validate(set, testDrivers); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// A revision from before there were bounds keeps its digest.
func TestOlderRolloutsKeepTheirDigests(t *testing.T) {
	data, err := core.DigestJSON(core.RolloutSpec{Strategy: core.StrategyBlueGreen, Bake: 1, KeepPrevious: 2, ProgressDeadline: 3})
	was := core.DigestBytes([]byte(`{"strategy":"blue_green","bake":"1ns","keep_previous":"2ns","progress_deadline":"3ns"}`))
	if err != nil || data != was {
		t.Errorf("%s, want %s: %v", data, was, err)
	}
}
