package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

// lose ends the driver and removes its whole state.
func (n *node) lose() {
	n.Helper()
	n.close()
	if err := os.RemoveAll(n.req.StateDir); err != nil {
		n.Fatal(err)
	}
	if err := os.MkdirAll(n.req.StateDir, 0o700); err != nil {
		n.Fatal(err)
	}
}

// pidIn reads the process id that a script has written.
func (n *node) pidIn(file string) int {
	n.Helper()
	var pid int
	for deadline := time.Now().Add(patience); ; {
		data, err := os.ReadFile(file)
		if _, scanErr := fmt.Sscan(string(data), &pid); err == nil && scanErr == nil {
			return pid
		}
		if time.Now().After(deadline) {
			n.Fatalf("%s has no process id: %v", file, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func running(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

// A state directory is lost while instances run: they are found by what the kernel says of them, reported as
// what they are, and ended when that is asked for.
func TestLostState(t *testing.T) {
	n := newNode(t)
	tells := n.spec("/bin/sh", "-c", "echo $$ > "+n.shared+"/tells; exec sleep 3600")
	tells.Ports = []sdk.Port{{Name: "http"}, {Name: "admin-api"}}
	silent := n.spec("/usr/bin/env", "-i", "/bin/sh", "-c", "echo $$ > "+n.shared+"/silent; exec sleep 3600")
	mute := n.spec("/bin/sh", "-c", "echo $$ > "+n.shared+"/mute; exec sleep 3600 > /dev/null 2>&1")
	made := n.create(tells)
	n.create(silent)
	n.create(mute)
	pids := map[string]int{}
	for id, file := range map[string]string{tells.ID: "tells", silent.ID: "silent", mute.ID: "mute"} {
		pids[id] = n.pidIn(filepath.Join(n.shared, file))
	}
	n.lose()
	n.open()
	list, err := n.driver.List(t.Context(), n.req.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]sdk.Instance{}
	for _, i := range list {
		found[i.ID] = i
	}
	if len(found) != 3 {
		t.Fatalf("found %v, want 3", list)
	}
	for id, i := range found {
		if i.State != sdk.StateRunning || i.Fingerprint != sdk.FingerprintLost || i.Cluster != n.req.Cluster {
			t.Errorf("%s is reported as %+v", id, i)
		}
	}
	got := found[tells.ID]
	if got.Service != "web" || got.Revision != 1 || got.RevisionDigest != tells.RevisionDigest || got.Generation != 1 {
		t.Errorf("labels are %+v", got)
	}
	if supported := os.Geteuid() == 0; supported && found[silent.ID].Service != "web" {
		t.Errorf("an instance without an environment has labels %+v", found[silent.ID])
	}
	for port, address := range made.Addresses {
		if got.Addresses[port] != address {
			t.Errorf("port %s is at %q, it was at %q", port, got.Addresses[port], address)
		}
	}
	if _, err := n.driver.Create(t.Context(), tells); sdk.CodeOf(err) != sdk.CodeConflict {
		t.Errorf("Create of an instance whose making is lost: %v, want a conflict", err)
	}
	n.reopen() // the record is as good as another one now
	for id, pid := range pids {
		if !running(pid) {
			t.Errorf("%s ended before it was asked to", id)
		}
		if err := n.driver.Destroy(t.Context(), id, time.Second); err != nil {
			t.Errorf("Destroy %s: %v", id, err)
		}
		if running(pid) {
			t.Errorf("%s runs on after Destroy", id)
		}
	}
}

// Processes that only claim to be instances are left alone: those of another cluster, of a user that no instance
// has, and of a state directory that is still there.
func TestLostStateSpoofed(t *testing.T) {
	n := newNode(t)
	n.lose()
	claim := func(id, cluster string) *exec.Cmd {
		cmd := exec.Command("/bin/sleep", "3600")
		cmd.Env = []string{
			"INSTAR_INSTANCE=" + id, "INSTAR_CLUSTER=" + cluster, "INSTAR_SERVICE=web",
			"INSTAR_DIR=" + filepath.Join(n.req.StateDir, "instances", id, "dir"),
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return cmd
	}
	commands := []*exec.Cmd{claim("other-cluster", "another")}
	elsewhere := claim("elsewhere", n.req.Cluster)
	elsewhere.Env[3] = "INSTAR_DIR=/somewhere/else/instances/elsewhere/dir"
	commands = append(commands, elsewhere)
	if os.Geteuid() == 0 {
		stranger := claim("stranger", n.req.Cluster)
		stranger.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		commands = append(commands, stranger, claim("root", n.req.Cluster))
	}
	// At the same path as ours in a container, whose state is not lost: the file has a name there.
	log := filepath.Join(n.req.StateDir, "instances", "theirs", "log", "stdout")
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	theirs := claim("theirs", n.req.Cluster)
	theirs.Stdout = out
	if err := os.Link(log, filepath.Join(t.TempDir(), "kept")); err != nil {
		t.Fatal(err)
	}
	commands = append(commands, theirs)
	for _, cmd := range commands {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		})
	}
	if err := errors.Join(out.Close(), os.RemoveAll(filepath.Join(n.req.StateDir, "instances"))); err != nil {
		t.Fatal(err)
	}
	n.open()
	for _, cluster := range []string{n.req.Cluster, "another"} {
		if list, err := n.driver.List(context.Background(), cluster); err != nil || len(list) > 0 {
			t.Errorf("in cluster %s: %+v, %v; want nothing", cluster, list, err)
		}
	}
	for _, cmd := range commands {
		if !running(cmd.Process.Pid) {
			t.Errorf("%v was ended", cmd.Env)
		}
	}
}
