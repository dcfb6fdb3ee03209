package process_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

// counted is an instance that leaves its number in a file each time that it is started.
func (n *node) counted() sdk.InstanceSpec {
	spec := n.spec()
	spec.Ports = []sdk.Port{{Name: "http"}}
	spec.Mounts = []sdk.Mount{{Path: "etc/a", Data: []byte("a")}}
	spec.Config = config(n, map[string]any{"command": []string{
		"/bin/sh", "-c", "echo $$ >>" + filepath.Join(n.shared, spec.ID) + "; exec sleep 3600",
	}})
	return spec
}

// I4: the driver is killed at every step of Create; whatever had happened by then, a repeated Create
// gives one running instance that was started once.
func TestI4CreateIsKilledAtEveryStep(t *testing.T) {
	t.Parallel() // most of it is waiting for processes
	for _, step := range []string{"filled", "recorded", "launched", "started"} {
		n := newNode(t)
		n.close()
		spec := n.counted()
		spec.Artifact = sdk.Artifact{}
		startOther(t, driverJob{Configure: n.req, Create: []sdk.InstanceSpec{spec}, CrashAt: step}).died(t)
		n.open()
		i := n.create(spec)
		if i.State != sdk.StateRunning {
			t.Errorf("killed at %q: the instance is %s: %+v", step, i.State, i.Exit)
		}
		n.eventually("the instance runs", func() bool { return len(n.pids(spec.ID)) > 0 })
		n.reopen()
		n.create(spec)
		if pids := n.pids(spec.ID); len(pids) != 1 || !alive(pids[0]) {
			t.Errorf("killed at %q: the instance was started as %v", step, pids)
		}
		n.destroy(spec.ID, 0)
		n.wantGone(n.pids(spec.ID))
	}
}

// I4: an instance whose Create was cut off can be destroyed without a Create in between.
func TestI4DestroyAfterACrashInCreate(t *testing.T) {
	t.Parallel() // most of it is waiting for processes
	for _, step := range []string{"filled", "recorded", "launched", "started"} {
		n := newNode(t)
		n.close()
		spec := n.counted()
		startOther(t, driverJob{Configure: n.req, Create: []sdk.InstanceSpec{spec}, CrashAt: step}).died(t)
		n.open()
		n.destroy(spec.ID, 0)
		n.wantGone(n.pids(spec.ID))
		_, err := n.driver.Create(t.Context(), spec)
		wantCode(t, err, sdk.CodeConflict, "was destroyed")
		n.wantEmptyState()
	}
}

// The driver is killed at every step of Destroy; a repeated one leaves nothing.
func TestDestroyIsKilledAtEveryStep(t *testing.T) {
	t.Parallel() // most of it is waiting for processes
	for _, step := range []string{"buried", "ended", "renamed"} {
		n := newNode(t)
		spec := n.counted()
		n.create(spec)
		n.eventually("the instance runs", func() bool { return len(n.pids(spec.ID)) > 0 })
		n.close()
		startOther(t, driverJob{Configure: n.req, Destroy: []string{spec.ID}, CrashAt: step}).died(t)
		n.open()
		_, err := n.driver.Create(t.Context(), spec)
		wantCode(t, err, sdk.CodeConflict, "was destroyed")
		n.destroy(spec.ID, 0)
		n.wantGone(n.pids(spec.ID))
		n.wantEmptyState()
	}
}

// wantEmptyState checks that no instance has left anything but tombstones.
func (n *node) wantEmptyState() {
	n.Helper()
	left, err := os.ReadDir(filepath.Join(n.req.StateDir, "instances"))
	if err != nil || len(left) != 0 {
		n.Errorf("the state directory has %v, %v", left, err)
	}
}

// I4: the driver is killed again and again at any time while it creates many instances.
func TestI4KilledAtRandom(t *testing.T) {
	t.Parallel() // most of it is waiting for processes
	n := newNode(t)
	var all []sdk.InstanceSpec
	for range 20 {
		all = append(all, n.counted())
	}
	n.close()
	for range 8 {
		other := startOther(t, driverJob{Configure: n.req, Create: all})
		timer := time.NewTimer(time.Duration(rand.IntN(300)) * time.Millisecond)
		<-timer.C
		other.kill()
	}
	n.open()
	for _, spec := range all {
		n.create(spec)
	}
	for _, spec := range all {
		n.eventually(spec.ID+" runs", func() bool { return len(n.pids(spec.ID)) > 0 })
		if pids := n.pids(spec.ID); len(pids) != 1 || !alive(pids[0]) {
			t.Errorf("%s was started as %v", spec.ID, pids)
		}
	}
}

// I4: two processes cannot act on the same state.
func TestOneDriverForOneState(t *testing.T) {
	t.Parallel() // most of it is waiting for processes
	n := newNode(t)
	other := startOther(t, driverJob{Configure: n.req})
	if !other.lines.Scan() {
		t.Fatal("the second driver said nothing")
	}
	if line := other.lines.Text(); line == "done" {
		t.Error("a second process could configure the same state")
	}
	other.kill()
	n.close()
	third := startOther(t, driverJob{Configure: n.req})
	third.done(t)
	if err := third.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.open() // waits for the lock
}
