package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/process"
	"github.com/instarhq/instar/sdk"
)

func TestConfigure(t *testing.T) {
	n := newNode(t)
	for attribute, value := range map[string]string{
		"port_range": `"5-4"`, "address": `"0.0.0.0"`, "uid_range": `"0-10"`, "artifact_max_bytes": "0", "artifact_max_entries": "0",
		"user": `"no-such-user"`, "no_such_attribute": "1",
	} {
		req := n.req
		req.Config = json.RawMessage(fmt.Sprintf("{%q: %s}", attribute, value))
		err := process.New().Configure(t.Context(), req)
		if sdk.CodeOf(err) != sdk.CodeInvalidConfig || !strings.HasPrefix(err.Error(), attribute+": ") {
			t.Errorf("%s = %s: %v, want InvalidConfig there", attribute, value, err)
		}
	}
	other := n.req
	other.StateDir = t.TempDir()
	wantCode(t, n.driver.Configure(t.Context(), other), sdk.CodeConflict, "another target needs another process")
	if _, err := process.New().List(t.Context(), "test"); sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("a driver without a target: %v", err)
	}
	// A newer configuration applies at once, also to ports.
	n.req.Config = json.RawMessage(`{"port_range": "23456-23456"}`)
	if err := n.driver.Configure(t.Context(), n.req); err != nil {
		t.Fatal(err)
	}
	spec := n.spec("/bin/sleep", "3600")
	spec.Ports = []sdk.Port{{Name: "http"}}
	if i := n.create(spec); i.Addresses["http"] != "127.0.0.1:23456" {
		t.Errorf("the address is %v", i.Addresses)
	}
}

// A state directory of another format is left alone, with an error that says what to do.
func TestForeignFormat(t *testing.T) {
	n := newNode(t)
	spec := n.spec("/bin/sleep", "3600")
	n.create(spec)
	n.close()
	for file, content := range map[string]string{"format": "99\n", "instances/" + spec.ID + "/instance.json": `{"format": 99}`} {
		path := filepath.Join(n.req.StateDir, file)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		err = process.New().Configure(t.Context(), n.req)
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "99") {
			t.Errorf("%s of another format: %v", file, err)
		}
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.open()
	if i := n.inspect(spec.ID); i.State != sdk.StateRunning {
		t.Errorf("after that the instance is %s", i.State)
	}
}

// A fixed port that is taken is a conflict at that port; by whom is said where it is known.
func TestFixedPort(t *testing.T) {
	n := newNode(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := l.Addr().(*net.TCPAddr).Port
	first, second := n.spec("/bin/sleep", "3600"), n.spec("/bin/sleep", "3600")
	for _, spec := range []*sdk.InstanceSpec{&first, &second} {
		spec.Ports = []sdk.Port{{Name: "free"}, {Name: "web", Number: number}}
	}
	_, err = n.driver.Create(t.Context(), first)
	wantCode(t, err, sdk.CodeConflict, fmt.Sprintf("port.web: port %d is in use by another program", number))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n.create(first)
	n.reopen()
	_, err = n.driver.Create(t.Context(), second)
	wantCode(t, err, sdk.CodeConflict, "belongs to instance "+first.ID)
	n.destroy(first.ID, 0)
	n.create(second)
	privileged := n.spec("/bin/true")
	privileged.Ports = []sdk.Port{{Name: "web", Number: 1}}
	_, err = n.driver.Create(t.Context(), privileged)
	wantCode(t, err, sdk.CodeInvalidConfig, "port.web: port 1 is privileged")
}

// A full disk is Unavailable and names the path; Destroy works on it and makes room.
func TestDiskFull(t *testing.T) {
	state, ok := smallDisk(t)
	if !ok {
		return // it ran in a user namespace
	}
	config := `{}`
	if os.Getenv(namespaceEnv) != "" {
		config = `{"user": "0"}` // the only user that there is
	}
	n := newNodeAt(t, state, config)
	spec := n.spec("/bin/sh", "-c", "head -c 600000 /dev/zero >mine; exec sleep 3600")
	n.create(spec)
	n.eventually("the instance has written its file", func() bool {
		info, err := os.Stat(filepath.Join(state, "instances", spec.ID, "dir", "mine"))
		return err == nil && info.Size() == 600000
	})
	large := writeFile(t, "web", "#!/bin/sh\n"+strings.Repeat("#", 1500<<10), 0o755)
	_, err := n.driver.Resolve(t.Context(), sdk.Artifact{Source: large})
	wantCode(t, err, sdk.CodeUnavailable, "is full")
	if err == nil || !strings.Contains(err.Error(), state) {
		t.Errorf("the error does not name the path: %v", err)
	}
	fillUp(t, state)
	next := n.spec("/bin/true")
	next.Mounts = []sdk.Mount{{Path: "a", Data: bytes.Repeat([]byte("x"), 64<<10)}}
	_, err = n.driver.Create(t.Context(), next)
	wantCode(t, err, sdk.CodeUnavailable, state)
	health := n.health()
	if health.Healthy || !strings.Contains(health.Reason, "is full") || !strings.Contains(health.Reason, state) {
		t.Errorf("health is %+v", health)
	}
	n.destroy(spec.ID, 0)
	n.create(next)
	n.exited(next.ID)
}

// namespaceEnv says that the test runs as root of a user namespace.
const namespaceEnv = "INSTAR_TEST_NAMESPACE"

// smallDisk is a file system of 2 MiB. Without the right to mount one, the test is run once more as root
// of a user namespace, and ok is false.
func smallDisk(t *testing.T) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("instar-test", dir, "tmpfs", 0, "size=2m,mode=0755")
	if err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		return dir, true
	}
	if os.Geteuid() == 0 {
		t.Fatalf("mount a small file system: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("in a user namespace: %v\n%s", err, out)
	}
	return "", false
}

// fillUp leaves no byte.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

func (n *node) health() sdk.Health {
	n.Helper()
	var health sdk.Health
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = n.driver.Probe(ctx, func(h sdk.Health) error { // ends with ctx
		health = h
		cancel()
		return nil
	})
	return health
}

func TestProbe(t *testing.T) {
	n := newNode(t)
	h := n.health()
	if !h.Healthy || h.Reason != "" || h.Capacity.CPU < 1000 || h.Capacity.CPU%1000 != 0 || h.Capacity.Memory < 64<<20 {
		t.Errorf("health is %+v", h)
	}
	for _, name := range []string{"kernel", "cgroup", "user", "isolation", "disk_free", "port_range"} {
		if h.Attributes[name] == "" {
			t.Errorf("there is no attribute %s in %v", name, h.Attributes)
		}
	}
	if err := os.Mkdir(filepath.Join(n.req.StateDir, ".probe"), 0o700); err != nil {
		t.Fatal(err)
	}
	if h := n.health(); h.Healthy || !strings.Contains(h.Reason, n.req.StateDir) {
		t.Errorf("the state directory cannot be written to, and health is %+v", h)
	}
}

// A limit of memory ends the instance, and is named as the cause; where the node has no such limits, the
// target says so.
func TestMemoryLimit(t *testing.T) {
	n := newNode(t)
	if cgroup := n.health().Attributes["cgroup"]; !strings.HasPrefix(cgroup, "yes") {
		if !strings.Contains(cgroup, "memory") && !strings.HasPrefix(cgroup, "no: ") {
			t.Errorf("there is no limit of memory, and the attribute says %q", cgroup)
		}
		return
	}
	spec := n.spec("/bin/sh", "-c", "head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null; sleep 3600")
	spec.Resources.Memory = 32 << 20
	n.create(spec)
	if exit := n.exited(spec.ID); !exit.OOM || exit.Signal != "SIGKILL" || !strings.Contains(exit.Message, "ran out of memory (limit 33554432 bytes)") {
		t.Errorf("exit is %+v", exit)
	}
}

// Every watcher gets the end of an instance, and ends when the driver does.
func TestWatchersEndWithTheDriver(t *testing.T) {
	n := newNode(t)
	var group sync.WaitGroup
	began := make(chan struct{}, 3)
	n.create(n.spec("/bin/sleep", "3600"))
	driver := n.driver
	for name, call := range map[string]func() error{
		"Watch": func() error {
			return driver.Watch(context.Background(), func(sdk.Instance) error { began <- struct{}{}; return nil })
		},
		"Probe": func() error {
			return driver.Probe(context.Background(), func(sdk.Health) error { began <- struct{}{}; return nil })
		},
		"Usage": func() error {
			return driver.Usage(context.Background(), time.Hour, func([]sdk.Usage) error { began <- struct{}{}; return nil })
		},
	} {
		group.Go(func() {
			if err := call(); sdk.CodeOf(err) != sdk.CodeUnavailable {
				t.Errorf("%s ended with %v", name, err)
			}
		})
	}
	for range 3 {
		<-began
	}
	n.reopen()
	group.Wait()
}
