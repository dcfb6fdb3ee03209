package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unified := write("unified", "24 1 0:21 / /proc rw - proc proc rw\n31 23 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n")
	spaces := write("spaces", `31 23 0:27 / /my\040groups rw - cgroup2 cgroup2 rw`+"\n")
	legacy := write("legacy", "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
	own := write("own", "4:memory:/x\n0::/system.slice/instard.service\n")
	none := write("none", "4:memory:/x\n")
	for _, c := range []struct{ mounts, own, mount, path, fault string }{
		{unified, own, "/sys/fs/cgroup", "/system.slice/instard.service", ""},
		{spaces, own, "/my groups", "/system.slice/instard.service", ""},
		{legacy, own, "", "", "not mounted"},
		{unified, none, "", "", "names no cgroup v2 group"},
	} {
		mount, path, err := locate(c.mounts, c.own)
		if mount != c.mount || path != c.path || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s, %s: %q, %q, %v", c.mounts, c.own, mount, path, err)
		}
	}
}

func TestLimitFiles(t *testing.T) {
	got := Limits{CPU: 250, Memory: 64 << 20}.files()
	if got["cpu.max"] != "25000 100000" || got["memory.max"] != "67108864" || got["memory.swap.max"] != "0" || got["memory.oom.group"] != "1" {
		t.Errorf("files are %v", got)
	}
	if got := (Limits{CPU: 1}).files(); got["cpu.max"] != "1000 100000" || len(got) != 1 {
		t.Errorf("files are %v", got)
	}
	if got := (Limits{}).files(); len(got) != 0 {
		t.Errorf("files are %v", got)
	}
}

// Without groups everything is a quiet no-op, and String says why.
func TestWithoutGroups(t *testing.T) {
	r := &Root{missing: controllers, reason: "not here"}
	g := r.Group("x")
	if r.Available() || r.Has("cpu") || g.Exists() || r.String() != "no: not here" {
		t.Errorf("%+v, %s", r, r)
	}
	if err := g.Create(Limits{Memory: 1}); err != nil {
		t.Error(err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Sweep(func(string) bool { return false }); err != nil {
		t.Error(err)
	}
}

// A real group, where the machine has them: otherwise Open must have said why not.
func TestGroup(t *testing.T) {
	r := Open("test-" + filepath.Base(t.TempDir()) + "-" + time.Now().Format("150405.000000"))
	defer r.Close()
	if !r.Available() {
		if r.reason == "" || !strings.HasPrefix(r.String(), "no: ") {
			t.Errorf("there are no groups and no reason: %+v", r)
		}
		return
	}
	g := r.Group("web-1")
	for range 2 {
		if err := g.Create(Limits{CPU: 500, Memory: 32 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	want := ""
	if r.Has("cpu") {
		want += "cpu.max=50000 100000\n"
	}
	if got := g.Settings(); !strings.HasPrefix(got, want) || strings.Contains(got, "memory.max=33554432") != r.Has("memory") {
		t.Errorf("settings are %q; the root says %s", got, r)
	}
	cmd := exec.Command("/bin/sh", "-c", `echo 0 >"$1"; setsid sleep 3600 & while :; do :; done`, "sh", g.ProcsFile())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both processes are in the group and have used some time", func() bool {
		pids, err := g.Processes()
		cpu, cpuErr := g.CPU()
		return err == nil && cpuErr == nil && len(pids) == 2 && cpu > 10*time.Millisecond && slices.Contains(pids, cmd.Process.Pid)
	})
	if !g.Contains(cmd.Process.Pid) || g.Contains(os.Getpid()) {
		t.Error("Contains does not tell members from others")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Remove(ctx); err == nil {
		t.Error("a group with processes was removed")
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := g.Remove(t.Context()); err != nil || g.Exists() {
		t.Errorf("Remove: %v", err)
	}
	if pids, err := g.Processes(); err != nil || len(pids) != 0 {
		t.Errorf("a group that is gone has %v, %v", pids, err)
	}
	if err := r.Group("stale").Create(Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Sweep(func(id string) bool { return id != "stale" }); err != nil || r.Group("stale").Exists() {
		t.Errorf("Sweep: %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}
