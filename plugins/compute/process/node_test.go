package process_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/process"
	"github.com/instarhq/instar/sdk"
)

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

// node is a driver with a state directory of its own.
type node struct {
	*testing.T
	req    sdk.ConfigureRequest
	driver *process.Driver
	// shared is a directory that instances can write to, whatever user they are.
	shared string
}

func newNode(t *testing.T) *node { return newNodeAt(t, t.TempDir(), `{}`) }

func newNodeAt(t *testing.T, state, config string) *node {
	t.Helper()
	//nolint:usetesting // below t.TempDir only this user could reach it
	shared, err := os.MkdirTemp("", "instar-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	n := &node{T: t, shared: shared, req: sdk.ConfigureRequest{
		Target: "local", Node: "n1", Cluster: "test", Generation: 1, StateDir: state, Config: json.RawMessage(config),
	}}
	t.Cleanup(n.tidyUp)
	n.open()
	return n
}

func (n *node) open() {
	n.Helper()
	n.driver = process.New()
	if err := n.driver.Configure(context.Background(), n.req); err != nil {
		n.Fatalf("Configure: %v", err)
	}
}

func (n *node) close() {
	n.Helper()
	if err := n.driver.Close(context.Background()); err != nil {
		n.Fatalf("Close: %v", err)
	}
}

// reopen does what a restart of the driver does, but for the process.
func (n *node) reopen() {
	n.Helper()
	n.close()
	n.open()
}

func (n *node) tidyUp() {
	all, err := n.driver.List(context.Background(), n.req.Cluster)
	if err != nil {
		n.Errorf("List: %v", err)
	}
	for _, i := range all {
		if err := n.driver.Destroy(context.Background(), i.ID, 0); err != nil {
			n.Errorf("Destroy %s: %v", i.ID, err)
		}
	}
	if err := n.driver.Close(context.Background()); err != nil {
		n.Errorf("Close: %v", err)
	}
}

var specs atomic.Int64

// spec is an instance with a command and without an artifact.
func (n *node) spec(command ...string) sdk.InstanceSpec {
	n.Helper()
	return sdk.InstanceSpec{
		ID: fmt.Sprintf("web-%d", specs.Add(1)), Cluster: n.req.Cluster, Generation: 1, Service: "web", Revision: 1,
		RevisionDigest: "sha256:" + strings.Repeat("1", 64), Config: config(n, map[string]any{"command": command}),
	}
}

func config(t interface{ Fatal(...any) }, attributes map[string]any) json.RawMessage {
	data, err := json.Marshal(attributes)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (n *node) create(spec sdk.InstanceSpec) sdk.Instance {
	n.Helper()
	i, err := n.driver.Create(n.Context(), spec)
	if err != nil {
		n.Fatalf("Create %s: %v", spec.ID, err)
	}
	return i
}

func (n *node) inspect(id string) sdk.Instance {
	n.Helper()
	i, err := n.driver.Inspect(n.Context(), id)
	if err != nil {
		n.Fatalf("Inspect %s: %v", id, err)
	}
	return i
}

func (n *node) destroy(id string, grace time.Duration) {
	n.Helper()
	if err := n.driver.Destroy(n.Context(), id, grace); err != nil {
		n.Fatalf("Destroy %s: %v", id, err)
	}
}

// exited waits until the instance has ended.
func (n *node) exited(id string) sdk.Exit {
	n.Helper()
	n.eventually("the instance has exited", func() bool { return n.inspect(id).State == sdk.StateExited })
	return *n.inspect(id).Exit
}

// pin resolves and fetches a source.
func (n *node) pin(source string) sdk.Artifact {
	n.Helper()
	a, err := n.driver.Resolve(n.Context(), sdk.Artifact{Source: source})
	if err != nil {
		n.Fatalf("Resolve: %v", err)
	}
	if err := n.driver.Fetch(n.Context(), a, nil); err != nil {
		n.Fatalf("Fetch: %v", err)
	}
	return a
}

// logs returns all lines that are there.
func (n *node) logs(id string) []string {
	n.Helper()
	var lines []string
	err := n.driver.Logs(n.Context(), id, sdk.LogOptions{}, func(l sdk.LogLine) error {
		lines = append(lines, l.Text)
		return nil
	})
	if err != nil {
		n.Fatalf("Logs: %v", err)
	}
	return lines
}

// output creates an instance that ends by itself and returns what it wrote.
func (n *node) output(spec sdk.InstanceSpec) []string {
	n.Helper()
	n.create(spec)
	exit := n.exited(spec.ID)
	if exit.Code != 0 {
		n.Fatalf("the instance %s: %q", exit.Message, n.logs(spec.ID))
	}
	return n.logs(spec.ID)
}

func (n *node) eventually(what string, ok func() bool) {
	n.Helper()
	eventually(n.T, patience, what, ok)
}

func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// pids reads a file of process numbers, one a line, in the shared directory.
func (n *node) pids(name string) []int {
	n.Helper()
	data, err := os.ReadFile(filepath.Join(n.shared, name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		n.Fatal(err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			n.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// alive reports whether a process runs and is no zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

// wantCode checks an error's code and, if it is not empty, a part of its message.
func wantCode(t *testing.T, err error, code sdk.Code, part string) {
	t.Helper()
	if sdk.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error is %s: %v\nwant %s with %q", sdk.CodeOf(err), err, code, part)
	}
}

// writeFile writes a file below a fresh directory and returns its path.
func writeFile(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// tarOf packs files, by name; names that end with / are directories.
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
