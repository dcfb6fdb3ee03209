package launch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/serve"
)

// The test binary is also the drivers: which one, its file name says.
func TestMain(m *testing.M) {
	program := map[string]func(){
		"talker":   func() { serve.Run(&talker{sdktest.NewNoopCompute(nil)}) },
		"stubborn": runStubborn,
		"crashes":  func() { panic("at once") },
	}[filepath.Base(os.Args[0])]
	if program != nil {
		program()
		os.Exit(0)
	}
	// A process with the race detector waits a second at its end; the drivers of these tests need not.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// talker is a driver that uses its process in every way that may hurt it.
type talker struct{ *sdktest.NoopCompute }

// Configure prints more than a pipe holds, to all outputs.
func (d *talker) Configure(_ context.Context, _ sdk.ConfigureRequest) error {
	logger := serve.Logger("talker")
	line := strings.Repeat("x", 1000)
	for range 300 {
		fmt.Println("to standard output", line)
		fmt.Fprintln(os.Stderr, "to standard error", line)
		logger.Info("to the log", "line", line)
	}
	if _, err := syscall.Write(1, []byte("to file descriptor 1\n")); err != nil {
		return err
	}
	_, err := syscall.Write(2, []byte("to file descriptor 2\n"))
	return err
}

// Resolve tells what a program started by the driver finds.
func (d *talker) Resolve(ctx context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	out, err := exec.CommandContext(ctx, "sh", "-c", `env | grep -c INSTAR_ ; grep SigIgn /proc/self/status`).CombinedOutput()
	if err != nil && len(out) == 0 {
		return a, err
	}
	a.Digest = string(out)
	return a, nil
}

// Close leaves a mark.
func (d *talker) Close(context.Context) error {
	serve.Logger("talker").Info("closing in order")
	return nil
}

// runStubborn is a process that does not end at SIGTERM and was never a driver.
func runStubborn() {
	signal.Ignore(syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "not listening")
	select {}
}

func options(t *testing.T, name string) launch.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return launch.Options{
		Path: path, Dir: filepath.Join(dir, "l"), SocketDir: shortDir(t), Log: filepath.Join(dir, "log"),
		Env: launch.Environment(0), Timeout: 10 * time.Second,
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "launch-") //nolint:usetesting // the path of t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, o launch.Options) *launch.Process {
	t.Helper()
	p, err := launch.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return p
}

func compute(t *testing.T, p *launch.Process) sdk.Compute {
	t.Helper()
	d, err := p.Driver(sdk.KindCompute)
	if err != nil {
		t.Fatal(err)
	}
	return d.(sdk.Compute)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// ownIgnored is the mask of what this process ignores, and its children inherit: nohup and some CI
// runners leave traces there.
func ownIgnored(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, "/proc/self/status"), "SigIgn:")
	if !ok {
		t.Fatal("/proc/self/status has no SigIgn")
	}
	return strings.Fields(rest)[0]
}

func ignored(t *testing.T, mask string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOutputGoesToTheLogWithoutTheDaemon(t *testing.T) {
	t.Parallel()
	o := options(t, "talker")
	first := start(t, o)
	state := first.State()
	first.Detach()

	p, err := launch.Attach(t.Context(), state, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := compute(t, p).Configure(t.Context(), sdk.ConfigureRequest{}); err != nil {
		t.Fatalf("configure: %v", err)
	}
	log := read(t, o.Log)
	for _, line := range []string{
		"to standard output", "to standard error", "talker: to the log", "to file descriptor 1\n", "to file descriptor 2\n",
	} {
		if !strings.Contains(log, line) {
			t.Errorf("the log does not have %q", line)
		}
	}
	a, err := compute(t, p).Resolve(t.Context(), sdk.Artifact{})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(a.Digest)
	if len(lines) != 3 || lines[0] != "0" {
		t.Fatalf("a program started by the driver has variables of the launch: %q", a.Digest)
	}
	if more := ignored(t, lines[2]) &^ ignored(t, ownIgnored(t)); more != 0 {
		t.Errorf("a program started by the driver ignores signals that this test does not: mask %x", more)
	}

	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log := read(t, o.Log); !strings.Contains(log, "closing in order") {
		t.Error("Close was not called at SIGTERM")
	}
	if _, err := os.Stat(state.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := launch.Attach(t.Context(), state, nil); !errors.Is(err, launch.ErrGone) {
		t.Errorf("attach to an ended process: %v", err)
	}
}

func TestHandshakeFailures(t *testing.T) {
	t.Parallel()
	o := options(t, "crashes")
	_, err := launch.Start(t.Context(), o)
	var failed *launch.StartError
	if !errors.As(err, &failed) || !strings.Contains(failed.Exit, "exit status 2") || !strings.Contains(failed.Output, "panic: at once") {
		t.Errorf("a crash at the start: %v", err)
	}

	o = options(t, "stubborn")
	o.Timeout = 2 * time.Second
	_, err = launch.Start(t.Context(), o)
	if !errors.As(err, &failed) || !strings.Contains(failed.Exit, "killed") || !strings.Contains(failed.Output, "not listening") {
		t.Errorf("no handshake: %v", err)
	}
	left, err := launch.FindByDir(o.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %+v, %v", left, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	o.Dir += "2"
	if _, err = launch.Start(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a launch given up: %v", err)
	}

	o.SocketDir = "/" + strings.Repeat("x", 100)
	if _, err = launch.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "108") {
		t.Errorf("a long socket directory: %v", err)
	}
	o.SocketDir, o.Path = "", filepath.Join(t.TempDir(), "nothing")
	o.Dir = filepath.Join(shortDir(t), "l")
	if _, err = launch.Start(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no binary: %v", err)
	}
}

func TestFindAndTerminate(t *testing.T) {
	t.Parallel()
	o := options(t, "talker")
	p := start(t, o)
	found, err := launch.FindByDir(o.Dir)
	if err != nil || len(found) != 1 || found[0].PID != p.State().PID || found[0].Started != p.State().Started {
		t.Fatalf("found %+v, %v; want %+v", found, err, p.State())
	}
	if other, err := launch.FindByDir(o.Dir + "2"); err != nil || len(other) != 0 {
		t.Errorf("found %+v, %v for another directory", other, err)
	}

	// Another process with this pid is left alone.
	imposter := p.State()
	imposter.Started++
	if err := launch.Terminate(t.Context(), imposter); err != nil || !p.State().Alive() {
		t.Errorf("terminate of an imposter: %v, alive %v", err, p.State().Alive())
	}
	rebooted := p.State()
	rebooted.Boot = "another"
	if rebooted.Alive() {
		t.Error("a process of another boot is taken for alive")
	}

	// A stopped process cannot see SIGTERM: it is woken for it.
	if err := syscall.Kill(p.State().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := launch.Terminate(t.Context(), found[0]); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Exit() != "exit status 0" {
		t.Errorf("it ended with %q", p.Exit())
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	one, two := start(t, options(t, "talker")), start(t, options(t, "talker"))
	mixed := one.State()
	mixed.Dir = two.State().Dir // the keys of another launch
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if p, err := launch.Attach(ctx, mixed, nil); err == nil {
		p.Detach()
		t.Error("attached with the keys of another launch")
	}
	if err := one.Ping(t.Context()); err != nil {
		t.Errorf("the process after a stranger: %v", err)
	}
}
