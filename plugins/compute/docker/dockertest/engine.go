package dockertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// startWithin is how long dockerd may take on a busy machine.
const startWithin = 90 * time.Second

// Engine is a private dockerd.
type Engine struct {
	Dir      string // everything it has
	Endpoint string // "unix:///…/docker.sock"
	Address  string // where its containers' ports are published
	Gateway  string // the test's own address, as the engine sees it
	API      *client.Client

	options []string
	env     []string
	podman  bool
	net     *network
	mu      sync.Mutex
	process *process
}

// process is one run of dockerd.
type process struct {
	pid   int
	ended chan struct{} // closed at its end
}

// ErrNotRoot says that this user cannot run an engine.
var ErrNotRoot = errors.New("dockerd needs root")

// Start starts an engine with further options of dockerd. Its Stop removes everything again.
func Start(ctx context.Context, options ...string) (*Engine, error) {
	return start(ctx, &Engine{options: options})
}

// sparing has the engine's programs, all of Go, collect garbage rarely. A container takes a dozen processes that live for
// milliseconds and would spend a third of them on that.
var sparing = []string{"GOGC=800"}

// StartSparing is Start for tests, which judge what an engine does and not what it takes for it: it takes less of the
// processor, and more memory.
func StartSparing(ctx context.Context, options ...string) (*Engine, error) {
	return start(ctx, &Engine{options: options, env: sparing})
}

// StartPodman starts Podman's service with its Docker-compatible API in the place of dockerd, sparing as well.
func StartPodman(ctx context.Context) (*Engine, error) {
	return start(ctx, &Engine{podman: true, env: sparing})
}

func start(ctx context.Context, e *Engine) (_ *Engine, err error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	base := os.TempDir()
	if e.podman && len(base) > len("/dev/shm/temporary/") {
		base = "/tmp" // Podman takes no path of more than 50 bytes
	}
	dir, err := os.MkdirTemp(base, "instar-dockerd-")
	if err != nil {
		return nil, err
	}
	e.Dir, e.Endpoint = dir, "unix://"+filepath.Join(dir, "docker.sock")
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Stop())
		}
	}()
	if e.net, err = newNetwork(ctx); err != nil {
		return nil, err
	}
	e.Address, e.Gateway = e.net.inside, e.net.outside
	if e.API, err = client.New(client.WithHost(e.Endpoint)); err != nil {
		return nil, err
	}
	err = e.Run(ctx)
	return e, err
}

// Run starts dockerd again after Kill or Terminate, with further options for this run, and returns when it
// answers.
func (e *Engine) Run(ctx context.Context, options ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process != nil {
		return errors.New("dockerd runs already")
	}
	log, err := os.OpenFile(filepath.Join(e.Dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	// A dockerd that was killed leaves it, and a number in it that may be another process's by now.
	pidfile := filepath.Join(e.Dir, "dockerd.pid")
	if err := os.RemoveAll(pidfile); err != nil {
		return err
	}
	if err := e.forgetContainerd(); err != nil {
		return err
	}
	args := e.dockerd(pidfile)
	if e.podman {
		if args, err = e.podmanService(); err != nil {
			return err
		}
	}
	args = slices.Concat([]string{"--net=" + e.net.file()}, args, options)
	cmd := exec.Command("nsenter", args...)
	// What it leaves in its folder for temporary files goes with the rest: Podman leaves every image that it was given.
	cmd.Env = slices.Concat(os.Environ(), e.env, []string{"TMPDIR=" + e.Dir, "CONTAINERS_CONF=" + filepath.Join(e.Dir, "containers.conf")})
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread ends that has started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ends is the test's affair
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	p.pid, e.process = cmd.Process.Pid, p
	return e.awaitAnswer(ctx, p)
}

// dockerd is the command line without the options of one run.
func (e *Engine) dockerd(pidfile string) []string {
	return append([]string{
		"dockerd", "--host", e.Endpoint, "--pidfile", pidfile, "--log-level", "warn",
		"--data-root", filepath.Join(e.Dir, "data"), "--exec-root", filepath.Join(e.Dir, "exec"),
		"--insecure-registry", subnet, "--shutdown-timeout", "5",
	}, e.options...)
}

// podmanConfig keeps to limits that also a container may set, if these tests run in one.
const podmanConfig = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
events_logger = "file"
`

func (e *Engine) podmanService() ([]string, error) {
	return []string{
		"podman", "--root", filepath.Join(e.Dir, "data"), "--runroot", filepath.Join(e.Dir, "run"), "--cgroup-manager", "cgroupfs",
		"system", "service", "--time", "0", e.Endpoint,
	}, os.WriteFile(filepath.Join(e.Dir, "containers.conf"), []byte(podmanConfig), 0o600)
}

// forgetContainerd waits until the containerd of a dockerd that was killed has ended, which the kernel sees to,
// and removes its pid file: if nobody reaps it, dockerd would take the zombie for a containerd that runs.
func (e *Engine) forgetContainerd() error {
	file := filepath.Join(e.Dir, "exec", "containerd", "containerd.pid")
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stat := filepath.Join("/proc", strings.TrimSpace(string(data)), "stat")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		line, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(line), ") Z ") || !strings.Contains(string(line), "(containerd)") {
			return os.Remove(file)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
	return errors.New("the containerd of a dockerd that has ended goes on")
}

func (e *Engine) awaitAnswer(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		asking, done := context.WithTimeout(ctx, 2*time.Second)
		_, err := e.API.Ping(asking, client.PingOptions{})
		done()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("dockerd has ended: %s", e.Log())
		case <-ctx.Done():
			return fmt.Errorf("dockerd does not answer within %s (%w): %s", startWithin, err, e.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Log returns the end of what dockerd has logged.
func (e *Engine) Log() string {
	data, err := os.ReadFile(filepath.Join(e.Dir, "dockerd.log"))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4096):])
}

// Kill ends dockerd as a crash would. Its containers run on.
func (e *Engine) Kill() error { return e.end(syscall.SIGKILL) }

// Terminate ends dockerd as a restart of its service would. Without the option --live-restore it ends its
// containers, too.
func (e *Engine) Terminate() error { return e.end(syscall.SIGTERM) }

func (e *Engine) end(sig syscall.Signal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.process
	if p == nil {
		return nil
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		return fmt.Errorf("dockerd has not ended 60s after %v", sig)
	}
	e.process = nil
	return nil
}

// Freeze makes dockerd hang until Thaw.
func (e *Engine) Freeze() error { return e.signal(syscall.SIGSTOP) }

// Thaw ends what Freeze has begun.
func (e *Engine) Thaw() error { return e.signal(syscall.SIGCONT) }

func (e *Engine) signal(sig syscall.Signal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process == nil {
		return errors.New("dockerd does not run")
	}
	return syscall.Kill(e.process.pid, sig)
}

// Stop ends the engine and everything that it has started, and removes everything that it has made.
func (e *Engine) Stop() error {
	var errs []error
	if e.API != nil {
		_ = e.signal(syscall.SIGCONT) // fails if it does not run
		errs = append(errs, e.end(syscall.SIGTERM), e.API.Close())
	}
	errs = append(errs, killBelow(e.Dir), unmountBelow(e.Dir))
	if e.net != nil {
		errs = append(errs, e.net.remove())
	}
	return errors.Join(append(errs, os.RemoveAll(e.Dir))...)
}

// killBelow ends shims and whatever else was started for a directory, by pid.
func killBelow(dir string) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		left := 0
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			var pid int
			if _, err := fmt.Sscan(entry.Name(), &pid); err != nil || pid == os.Getpid() {
				continue
			}
			line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
			if err == nil && strings.Contains(string(line), dir+"/") {
				left++
				killTree(pid)
			}
		}
		if left == 0 {
			return nil
		}
		pause := time.NewTimer(20 * time.Millisecond)
		<-pause.C
	}
	return fmt.Errorf("processes of %s do not end", dir)
}

// killTree kills a process and its children first: those of a shim are its containers.
func killTree(pid int) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // gone, or none
	for child := range strings.FieldsSeq(string(children)) {
		var n int
		if _, err := fmt.Sscan(child, &n); err == nil {
			killTree(n)
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
}

func unmountBelow(dir string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); !errors.Is(err, syscall.EINVAL) { // gone with another one
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
