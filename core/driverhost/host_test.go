package driverhost_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/sdk"
)

func config(t *testing.T, plugins string) driverhost.Config {
	t.Helper()
	dir := t.TempDir()
	cfg := driverhost.Config{
		PluginDirs: []string{plugins}, StateDir: filepath.Join(dir, "drivers"), LockFile: filepath.Join(dir, "drivers.lock"),
		AutoLock: true, Cluster: "c1", Node: "n1", Generation: 1,
	}
	return cfg.Impatient()
}

// start makes a Host whose processes end with the test.
func start(t *testing.T, cfg driverhost.Config) *driverhost.Host {
	t.Helper()
	h, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := h.Teardown(ctx); err != nil && core.CodeOf(err) != core.CodeConflict {
			t.Errorf("teardown: %v", err)
		}
	})
	return h
}

func good(text string) driverhost.TargetConfig {
	return driverhost.TargetConfig{Kind: core.DriverCompute, Driver: "good", Name: "local", Config: note(text)}
}

func open(t *testing.T, h *driverhost.Host, cfg driverhost.TargetConfig) {
	t.Helper()
	if err := h.Open(t.Context(), cfg); err != nil {
		t.Fatalf("open: %v", err)
	}
}

func healthy(t *testing.T, h *driverhost.Host) {
	t.Helper()
	eventually(t, 10*time.Second, "all targets healthy", func() bool {
		for _, target := range h.Targets() {
			if !target.Healthy {
				return false
			}
		}
		return true
	})
}

func create(t *testing.T, c sdk.Compute, id string) sdk.Instance {
	t.Helper()
	i, err := c.Create(t.Context(), sdk.InstanceSpec{ID: id, Cluster: "c1", Generation: 1, Service: "web", Revision: 1, RevisionDigest: "sha256:1"})
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	return i
}

func compute(t *testing.T, h *driverhost.Host) sdk.Compute {
	t.Helper()
	c, err := h.Compute("good", "local")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTargetServesCallsAndReportsHealth(t *testing.T) {
	t.Parallel()
	h := start(t, config(t, install(t, "instar-compute-good")))
	open(t, h, good("one"))
	healthy(t, h)
	target := h.Targets()[0]
	if target.Version != "0.1.0" || target.Scope != core.ScopeNode || target.Reason != "" {
		t.Errorf("target is %+v", target)
	}
	i := create(t, compute(t, h), "web-1")
	if i.State != sdk.StateRunning {
		t.Errorf("instance is %+v", i)
	}
	if _, err := h.Compute("good", "elsewhere"); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("unknown target: %v", err)
	}
}

func TestReattachAfterClose(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	first, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, first, good("one"))
	create(t, compute(t, first), "web-1")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := start(t, cfg)
	open(t, second, good("two"))
	healthy(t, second)
	if _, err := compute(t, second).Inspect(t.Context(), "web-1"); err != nil {
		t.Errorf("the instance of the first host: %v", err)
	}
	lines := configurations(t, cfg.StateDir)
	if len(lines) != 2 {
		t.Fatalf("configured %q, want twice", lines)
	}
	pid1, _, _ := strings.Cut(lines[0], " ")
	pid2, _, _ := strings.Cut(lines[1], " ")
	if pid1 != pid2 || !strings.HasSuffix(lines[1], " two") {
		t.Errorf("configured %q, want one process and the new note", lines)
	}
}

func TestOnlyOneHostAtATime(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	start(t, cfg)
	_, err := driverhost.New(cfg)
	if core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), cfg.StateDir) {
		t.Errorf("second host: %v", err)
	}
}

func TestKilledDriverComesBack(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	h := start(t, cfg)
	open(t, h, good("one"))
	healthy(t, h)
	c := compute(t, h)
	watching := make(chan error, 1)
	go func() {
		watching <- c.Watch(t.Context(), func(sdk.Instance) error { return nil })
	}()
	kill(t, pid(t, cfg), syscall.SIGKILL)
	if err := <-watching; sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("watch ended with %v", err)
	}
	eventually(t, 5*time.Second, "target unhealthy", func() bool { return !h.Targets()[0].Healthy })
	if _, err := c.Inspect(t.Context(), "web-1"); sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("call while away: %v", err)
	}
	if reason := h.Targets()[0].Reason; !strings.Contains(reason, "ended") {
		t.Errorf("reason is %q", reason)
	}
	healthy(t, h)
	create(t, c, "web-2")
}

// A driver that had been up for long is back at once: its data plane is missed. One that just came up is not.
func TestSoundDriverComesBackAtOnce(t *testing.T) {
	t.Parallel()
	plugins := install(t, "instar-compute-good")
	for want, cfg := range map[string]driverhost.Config{
		"next_attempt=0s": config(t, plugins).SoundAtOnce(),
		"next_attempt=":   config(t, plugins),
	} {
		log := &lockedBuffer{}
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
		h := start(t, cfg)
		open(t, h, good("one"))
		healthy(t, h)
		before := pid(t, cfg)
		kill(t, before, syscall.SIGKILL)
		eventually(t, 10*time.Second, "a line on the next attempt", func() bool { return strings.Contains(log.String(), "next_attempt=") })
		if got := log.String(); !strings.Contains(got, want) || (want == "next_attempt=" && strings.Contains(got, "=0s")) {
			t.Errorf("want %s in %s", want, got)
		}
		healthy(t, h)
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestTeardownEndsTheProcess(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	h := start(t, cfg)
	open(t, h, good("one"))
	process := pid(t, cfg)
	if err := h.Teardown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gone(process) {
		t.Errorf("process %d still runs", process)
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "targets", "compute_good_local", "process.json")); err == nil {
		t.Error("process.json is still there")
	}
}

func TestEndOthersLeavesWhatIsOpen(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good", "instar-traffic-good"))
	first, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, first, good("one"))
	open(t, first, driverhost.TargetConfig{Kind: core.DriverTraffic, Driver: "good", Name: "local"})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	compute := pid(t, cfg)

	second := start(t, cfg)
	open(t, second, driverhost.TargetConfig{Kind: core.DriverTraffic, Driver: "good", Name: "local"})
	traffic, err := second.Traffic("good", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := traffic.Apply(t.Context(), sdk.Route{ID: "web", Generation: 1, Protocol: sdk.ProtocolHTTP, Listen: "127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if err := second.EndOthers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gone(compute) {
		t.Errorf("process %d of a target that is not configured any more still runs", compute)
	}
	if list, err := traffic.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the open target has routes %v, %v", list, err)
	}
}

func TestChangedTellsOfHealth(t *testing.T) {
	t.Parallel()
	h := start(t, config(t, install(t, "instar-compute-good")))
	other, stop := h.Subscribe()
	defer stop()
	open(t, h, good("one"))
	for h.Targets()[0].Healthy == false {
		select {
		case <-h.Changed():
		case <-time.After(10 * time.Second):
			t.Fatal("no signal of the change")
		}
	}
	<-other
}
