package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/daemon"
)

// limit is how long a test waits for something that should take a second.
const limit = 30 * time.Second

// dir is a data directory that is torn down at the test's end.
type dir struct {
	*testing.T
	path string
}

func newDir(t *testing.T) *dir {
	parent, err := os.MkdirTemp("", "instar-") //nolint:usetesting // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(parent, 0o711); err != nil {
		t.Fatal(err)
	}
	d := &dir{T: t, path: filepath.Join(parent, "d")}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if _, err := daemon.Teardown(ctx, d.path, nil); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("teardown: %v", err)
		}
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *dir) config() daemon.Config {
	return daemon.Config{
		DataDir: d.path, Node: "n1", Version: "1.0.0", PluginDirs: []string{bin}, AutoLock: true, Targets: daemon.DevTargets(),
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: d.Output()}),
	}
}

// start runs a daemon in this process until the test ends, or it is closed.
func (d *dir) start(change func(*daemon.Config)) *daemon.Daemon {
	d.Helper()
	config := d.config()
	if change != nil {
		change(&config)
	}
	made, err := daemon.New(config)
	if err != nil {
		d.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.Context(), limit)
	defer cancel()
	if err := made.Start(ctx); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		if err := made.Close(); err != nil {
			d.Error(err)
		}
	})
	return made
}

func (d *dir) api() *client.Client {
	d.Helper()
	c, err := client.New("unix://" + filepath.Join(d.path, "instar.sock"))
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(c.Close)
	return c
}

// deploy declares the hello service with two instances and waits until it serves; it returns the
// address of its route.
func (d *dir) deploy() string {
	d.Helper()
	address := freeAddress(d.T)
	file := filepath.Join(d.TempDir(), "hello.hcl")
	content := fmt.Sprintf(`
service "hello" {
  count = 2
  artifact { source = %q }
  compute "process" { command = ["./hello", "127.0.0.1:${port.http}"] }
  port "http" {}
  env = { GREETING = "hello" }
  health "http" {
    path        = "/"
    interval    = "200ms"
    healthy_for = "200ms"
  }
  route "hello" { listen = %q }
  rollout { bake = "1s" }
}`, filepath.Join(bin, "hello"), address)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		d.Fatal(err)
	}
	d.cli("apply", "-yes", file)
	return address
}

// cli runs the client.
func (d *dir) cli(args ...string) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), limit)
	defer cancel()
	out, err := d.command(exec.CommandContext(ctx, "instar", args...)).CombinedOutput()
	if err != nil {
		d.Fatalf("instar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// command makes a command run a binary of ours against this directory's daemon.
func (d *dir) command(cmd *exec.Cmd) *exec.Cmd {
	cmd.Path, cmd.Err = filepath.Join(bin, cmd.Args[0]), nil
	cmd.Env = append(os.Environ(), client.EnvAddress+"=unix://"+filepath.Join(d.path, "instar.sock"))
	return cmd
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// processes are the pids of everything that runs for the data directory but a daemon: whatever was
// started from it, works in it, or has one of its files open.
func (d *dir) processes() []int {
	d.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		d.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || zombie(pid) {
			continue
		}
		links, _ := filepath.Glob("/proc/" + e.Name() + "/fd/*") // others' are not readable, nor ours
		exe, _ := os.Readlink("/proc/" + e.Name() + "/exe")
		links = append(links, "/proc/"+e.Name()+"/exe", "/proc/"+e.Name()+"/cwd")
		ours := slices.ContainsFunc(links, func(link string) bool {
			to, _ := os.Readlink(link)
			return strings.HasPrefix(to, d.path+"/")
		})
		if ours && filepath.Base(exe) != "instard" {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// snapshot is what a restart must not change.
func (d *dir) snapshot() string {
	d.Helper()
	page, err := d.api().Instances(d.Context(), client.List{})
	if err != nil {
		d.Fatal(err)
	}
	data, err := json.MarshalIndent(page.Items, "", " ")
	if err != nil {
		d.Fatal(err)
	}
	return string(data)
}

// await polls until ok says so.
func (d *dir) await(what string, ok func() bool) {
	d.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			d.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// wantCode fails unless err has the code.
func wantCode(t *testing.T, err error, code core.Code) {
	t.Helper()
	if err == nil || core.CodeOf(err) != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}
