package driverhost_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/sdk"
)

// bad is every driver that cannot be described, with a part of the reason that must be given.
var bad = map[string]string{
	"exits":   "exit status 3); it wrote: no licence found",
	"hangs":   "timeout",
	"rubbish": "hello, world",
	"old":     "Plugin version: 99",
	"mute":    "did not answer Describe within",
	"liar":    `"someone-else"`,
}

func TestDiscoverIsolatesBadDrivers(t *testing.T) {
	t.Parallel()
	names := []string{"instar-compute-good", "instar-traffic-good", "instar-metrics-good"}
	for name := range bad {
		names = append(names, "instar-compute-"+name)
	}
	plugins := install(t, names...)
	for name, mode := range map[string]os.FileMode{"instar-compute-text": 0o644, "instar-compute-open": 0o777, "instard": 0o755} {
		path := filepath.Join(plugins, name)
		if err := os.WriteFile(path, []byte("#!/bin/false\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	cfg := config(t, plugins)
	drivers, problems := start(t, cfg).Discover(t.Context())
	if len(drivers) != 3 {
		t.Fatalf("found %d drivers, want the three good ones: %+v", len(drivers), drivers)
	}
	d := drivers[0]
	if d.Kind != core.DriverCompute || d.Name != "good" || d.Protocol != sdk.ProtocolVersion || len(d.SHA256) != 64 ||
		d.Node != "n1" || d.Path != filepath.Join(plugins, "instar-compute-good") || d.Target[0].Name != "note" {
		t.Errorf("description is %+v", d)
	}
	want := map[string]string{"text": "no executable file", "open": "anybody may write"}
	for name, reason := range bad {
		want[name] = reason
	}
	for _, p := range problems {
		name := strings.TrimPrefix(filepath.Base(p.Path), "instar-compute-")
		if reason, ok := want[name]; !ok || !strings.Contains(p.Error(), reason) {
			t.Errorf("problem %q, want it to contain %q", p, reason)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("no problem reported for %v", want)
	}
	left, err := os.ReadDir(filepath.Join(cfg.StateDir, "describing"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDescriptionsAreRemembered(t *testing.T) {
	t.Parallel()
	plugins := install(t, "instar-compute-good")
	cfg := config(t, plugins)
	h := start(t, cfg)
	first, problems := h.Discover(t.Context())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cached, err := filepath.Glob(filepath.Join(cfg.StateDir, "descriptions", "*.json"))
	if err != nil || len(cached) != 1 {
		t.Fatalf("cache: %v, %v", cached, err)
	}
	// What is in the cache is what is told: no process was asked a second time.
	data, err := os.ReadFile(cached[0])
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.Replace(string(data), `"0.1.0"`, `"0.1.0-cached"`, 1))
	if err := os.WriteFile(cached[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	second, _ := h.Discover(t.Context())
	if first[0].Version != "0.1.0" || second[0].Version != "0.1.0-cached" {
		t.Errorf("versions %s, then %s", first[0].Version, second[0].Version)
	}
	if got := h.Drivers(); len(got) != 1 || got[0].Version != "0.1.0-cached" {
		t.Errorf("Drivers gives %+v", got)
	}
}

func TestBadDriversMarkOnlyTheirTargets(t *testing.T) {
	t.Parallel()
	all := []string{"good", "exits", "rubbish", "old", "liar", "panics"}
	var names []string
	for _, name := range all {
		names = append(names, "instar-compute-"+name)
	}
	h := start(t, config(t, install(t, names...)))
	for _, name := range all {
		err := h.Open(t.Context(), driverhost.TargetConfig{Kind: core.DriverCompute, Driver: name, Name: "local"})
		if reason, isBad := bad[name]; isBad != (err != nil) || (isBad && !strings.Contains(err.Error(), reason)) {
			t.Errorf("open %s: %v, want %q", name, err, reason)
		}
	}
	eventually(t, 10*time.Second, "good and panics healthy", func() bool {
		n := 0
		for _, target := range h.Targets() {
			if target.Healthy {
				n++
			}
		}
		return n == 2
	})
	for _, target := range h.Targets() {
		if reason := bad[target.Driver]; !strings.Contains(target.Reason, reason) {
			t.Errorf("%s: reason is %q, want %q", target.Driver, target.Reason, reason)
		}
	}

	c, err := h.Compute("panics", "local")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Create(t.Context(), sdk.InstanceSpec{ID: "web-1"})
	if sdk.CodeOf(err) != sdk.CodeInternal || !strings.Contains(err.Error(), "panicked in /instar.driver.v1.ComputeService/Create") {
		t.Errorf("create: %v", err)
	}
	if _, err := c.Inspect(t.Context(), "web-1"); sdk.CodeOf(err) != sdk.CodeNotFound {
		t.Errorf("the call after the panic: %v", err)
	}
}

func TestUnknownDriverIsAReason(t *testing.T) {
	t.Parallel()
	plugins := t.TempDir()
	h := start(t, config(t, plugins))
	err := h.Open(t.Context(), good("one"))
	if core.CodeOf(err) != core.CodeNotFound || !strings.Contains(err.Error(), plugins) {
		t.Fatalf("open: %v", err)
	}
	installAs(t, plugins, "instar-compute-good", "")
	healthy(t, h) // found at the next attempt
}

func TestRefusedConfigurationCanBeCorrected(t *testing.T) {
	t.Parallel()
	h := start(t, config(t, install(t, "instar-compute-picky")))
	target := driverhost.TargetConfig{Kind: core.DriverCompute, Driver: "picky", Name: "local", Config: note("wrong")}
	err := h.Open(t.Context(), target)
	if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), `note: "wrong" is not right`) {
		t.Fatalf("open: %v", err)
	}
	if got := h.Targets()[0]; got.Healthy || !strings.Contains(got.Reason, "is not right") || got.Version != "0.1.0" {
		t.Errorf("target is %+v", got)
	}
	target.Config = note("right")
	open(t, h, target)
	healthy(t, h)
}

func TestHangingCallsMarkTheTarget(t *testing.T) {
	t.Parallel()
	h := start(t, config(t, install(t, "instar-compute-stuck", "instar-compute-deaf")))
	err := h.Open(t.Context(), driverhost.TargetConfig{Kind: core.DriverCompute, Driver: "stuck", Name: "local"})
	if err == nil || !strings.Contains(err.Error(), "did not answer Configure within") {
		t.Errorf("open stuck: %v", err)
	}
	open(t, h, driverhost.TargetConfig{Kind: core.DriverCompute, Driver: "deaf", Name: "local"})
	eventually(t, 10*time.Second, "the reason of deaf", func() bool {
		return strings.Contains(h.Targets()[0].Reason, "did not answer Probe within")
	})
}

func TestStoppedProcessIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	h := start(t, cfg)
	open(t, h, good("one"))
	healthy(t, h)
	old := pid(t, cfg)
	kill(t, old, syscall.SIGSTOP)
	eventually(t, 10*time.Second, "target unhealthy", func() bool {
		return strings.Contains(h.Targets()[0].Reason, "does not answer")
	})
	eventually(t, 30*time.Second, "another process", func() bool {
		now, err := findPID(cfg)
		return err == nil && now != old
	})
	healthy(t, h)
	if !gone(old) {
		t.Errorf("process %d is still there", old)
	}
}
