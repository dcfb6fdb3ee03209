package daemon_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/daemon"
)

func get(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// I9: with the whole control plane down, instances and traffic go on, and the next daemon finds them.
func TestI9DaemonRestartTouchesNothing(t *testing.T) {
	d := newDir(t)
	first := d.start(nil)
	address := d.deploy()
	before, pids := d.snapshot(), d.processes()
	if len(pids) < 4 {
		t.Fatalf("processes %v, want two drivers and two instances at least", pids)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if body := get(t, "http://"+address); !strings.HasPrefix(body, "hello from hello-") {
		t.Errorf("with the daemon down the route answers %q", body)
	}
	d.start(nil)
	if after := d.snapshot(); after != before {
		t.Errorf("a restart changed the instances from\n%s\nto\n%s", before, after)
	}
	if after := d.processes(); !slices.Equal(after, pids) {
		t.Errorf("processes %v before, %v after a restart", pids, after)
	}
	d.cli("service", "scale", "hello", "3")
	d.await("a third instance", func() bool { return strings.Count(d.snapshot(), `"phase": "running"`) == 3 })
}

// I9 and I4: a daemon that is killed leaves what a daemon that is stopped does.
func TestI9KilledDaemon(t *testing.T) {
	d := newDir(t)
	process := d.spawn()
	address := d.deploy()
	before, pids := d.snapshot(), d.processes()
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // it was killed
	if body := get(t, "http://"+address); !strings.HasPrefix(body, "hello from hello-") {
		t.Errorf("with the daemon dead the route answers %q", body)
	}
	process = d.spawn()
	if after := d.snapshot(); after != before {
		t.Errorf("a kill changed the instances from\n%s\nto\n%s", before, after)
	}
	if after := d.processes(); !slices.Equal(after, pids) {
		t.Errorf("processes %v before, %v after a kill", pids, after)
	}
	began := time.Now()
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("SIGTERM took %s", took)
	}
	if after := d.processes(); !slices.Equal(after, pids) {
		t.Errorf("processes %v before, %v after SIGTERM", pids, after)
	}
}

// spawn runs the real instard -dev and waits until it is ready.
func (d *dir) spawn() *exec.Cmd {
	d.Helper()
	cmd := exec.Command(filepath.Join(bin, "instard"), "-dev", "-data-dir", d.path, "-node", "n1")
	cmd.Stderr = d.Output()
	if err := cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already in most tests
		_ = cmd.Wait()
	})
	d.await("a daemon that is ready", func() bool {
		health, err := d.api().Health(d.Context())
		return err == nil && health.Ready
	})
	return cmd
}

func TestTeardownEndsEverything(t *testing.T) {
	d := newDir(t)
	running := d.start(nil)
	address := d.deploy()
	if _, err := daemon.Teardown(t.Context(), d.path, nil); core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("teardown under a running daemon: %v", err)
	}
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	// The store is broken: the drivers alone must do.
	if err := os.WriteFile(filepath.Join(d.path, "store", "state.db"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn, err := daemon.Teardown(t.Context(), d.path, nil)
	if err != nil || torn != (daemon.Torn{Instances: 2, Routes: 1, Targets: 2}) {
		t.Errorf("torn down %+v, %v", torn, err)
	}
	if left := d.processes(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if body := get(t, "http://"+address); !strings.Contains(body, "refused") {
		t.Errorf("the route answers %q", body)
	}
	broken, err := daemon.New(d.config())
	if err != nil {
		t.Fatal(err)
	}
	err = broken.Start(t.Context())
	wantCode(t, err, core.CodeCorrupt)
	if !strings.Contains(err.Error(), "state.db") {
		t.Errorf("the error does not name the file: %v", err)
	}
}

func TestOneDaemonPerDirectory(t *testing.T) {
	d := newDir(t)
	d.start(nil)
	second, err := daemon.New(d.config())
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start(t.Context())
	wantCode(t, err, core.CodeUnavailable)
	if !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("the error does not name the other process: %v", err)
	}
	if health, err := d.api().Health(t.Context()); err != nil || !health.Ready {
		t.Errorf("the first daemon suffered: %+v, %v", health, err)
	}
	if info, err := os.Stat(d.path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory is %v, %v", info.Mode(), err)
	}
}

func TestWritesAreSignedWithTheCallersName(t *testing.T) {
	d := newDir(t)
	d.start(nil)
	d.deploy()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	page, err := d.api().Records(t.Context(), client.Records{Principal: "local:" + me.Username})
	if err != nil || len(page.Items) == 0 {
		t.Errorf("no record of local:%s (%v)", me.Username, err)
	}
}

func TestDriverThatHangsKeepsNothingAway(t *testing.T) {
	d := newDir(t)
	plugins := filepath.Dir(d.path) // there until the teardown is over
	hang := filepath.Join(plugins, "instar-compute-hang")
	if err := os.WriteFile(hang, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	made := d.start(func(c *daemon.Config) {
		c.PluginDirs = append(c.PluginDirs, plugins)
		c.Targets = append(c.Targets, daemon.Target{Kind: core.DriverCompute, Driver: "hang", Name: "local"})
	})
	page, err := d.api().Nodes(t.Context(), client.List{})
	if err != nil || len(page.Items) != 1 || len(page.Items[0].Targets) != 3 {
		t.Fatalf("nodes %+v, %v", page.Items, err)
	}
	for _, target := range page.Items[0].Targets {
		if target.Healthy == (target.Driver == "hang") {
			t.Errorf("target %+v", target)
		}
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	d.start(nil) // without it: the teardown could not end what does not answer
}
