// Package balancer runs a real HAProxy for tests and benchmarks, as an admin would set it up for instar's
// driver: a configuration of its own, a directory for the generated part, and a master socket.
package balancer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
)

// EnvProgram names another HAProxy than the package's.
const EnvProgram = "INSTAR_TEST_HAPROXY"

// config is the admin's part. HAProxy 2.6 and later read all authorities of the machine when they start, for requests of
// their own that nobody here makes: that is most of what a start costs, and a reload starts HAProxy three times.
const config = `
global
    maxconn 4000
    nbthread 2
.if version_atleast(2.6)
    httpclient.ssl.verify none
.endif
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
`

// Balancer is one HAProxy, which may be down at the moment.
type Balancer struct {
	dir     string
	process *exec.Cmd
	ended   chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// New makes the files of an HAProxy and starts it.
func New(ctx context.Context) (*Balancer, error) {
	b, err := Make()
	if err != nil {
		return b, err
	}
	err = b.Start(ctx)
	return b, err
}

// Make makes the files of an HAProxy, and leaves it to Start to run it.
func Make() (*Balancer, error) {
	dir, err := os.MkdirTemp("", "instar-ha-") // short: the socket's name is limited
	if err != nil {
		return nil, err
	}
	b := &Balancer{dir: dir}
	if err := os.Mkdir(b.Directory(), 0o755); err != nil {
		return b, err
	}
	return b, os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(config), 0o644)
}

// Dir is a directory that goes with the balancer.
func (b *Balancer) Dir() string { return b.dir }

// Directory is where the driver writes.
func (b *Balancer) Directory() string { return filepath.Join(b.dir, "instar") }

// Socket is the master socket.
func (b *Balancer) Socket() string { return filepath.Join(b.dir, "master.sock") }

// Write implements io.Writer: HAProxy's log.
func (b *Balancer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

// Log is what HAProxy has said.
func (b *Balancer) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// Start runs HAProxy, after New or Kill, and waits until it has a worker.
func (b *Balancer) Start(ctx context.Context) error {
	program := "/usr/sbin/haproxy"
	if other := os.Getenv(EnvProgram); other != "" {
		program = other
	}
	b.process = exec.Command(program, "-W", "-S", b.Socket(), "-f", filepath.Join(b.dir, "haproxy.cfg"), "-f", b.Directory())
	b.process.Stdout, b.process.Stderr = b, b
	b.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.process.Start(); err != nil {
		return err
	}
	b.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		_ = p.Wait() // its end is wanted
		close(ended)
	}(b.process, b.ended)
	return b.awaitWorker(ctx, nil)
}

// awaitWorker waits for a present worker that is none of those.
func (b *Balancer) awaitWorker(ctx context.Context, but []socket.Worker) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		master := socket.Master{Path: b.Socket()}
		procs, err := master.Processes(ctx)
		if w, ok := procs.Current(); err == nil && ok && !slices.ContainsFunc(but, func(o socket.Worker) bool { return o.PID == w.PID }) {
			// HAProxy 3.1 and later list it before it has read its configuration.
			if _, err := master.Ask(ctx, w.PID, "show info"); err == nil {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("HAProxy has no new worker: %w\n%s", ctx.Err(), b.Log())
		}
	}
}

// Signal sends a signal to the master and its workers.
func (b *Balancer) Signal(s syscall.Signal) error { return syscall.Kill(-b.process.Process.Pid, s) }

// Kill ends master and workers at once.
func (b *Balancer) Kill() {
	if b.ended == nil {
		return // it was never started
	}
	_ = b.Signal(syscall.SIGKILL) // fails if they have ended
	<-b.ended
}

// Reload has HAProxy load its configuration anew, as an admin would, and waits until it has.
func (b *Balancer) Reload(ctx context.Context) error {
	before, err := socket.Master{Path: b.Socket()}.Processes(ctx)
	if err != nil {
		return err
	}
	if err := b.process.Process.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	return b.awaitWorker(ctx, before.Workers)
}

// Close ends HAProxy and removes its files.
func (b *Balancer) Close() error {
	b.Kill()
	return os.RemoveAll(b.dir)
}
