package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// child is a process that we have started, as go-plugin wants to see it. In contrast to go-plugin's own
// runner it writes standard error to a file from the first instruction on, and notices its exit also if a
// grandchild keeps standard output open.
type child struct {
	cmd    *exec.Cmd
	stdout *os.File
	done   chan struct{} // closed when the process is gone and reaped

	mu     sync.Mutex // guards the start against a kill
	killed bool
}

var _ runner.Runner = (*child)(nil)

func newChild(cmd *exec.Cmd, logPath string) (*child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	cmd.Stderr = log
	// A session of its own: neither a terminal's Ctrl-C nor the end of the daemon's session reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return &child{cmd: cmd, done: make(chan struct{})}, nil
}

// Start implements runner.Runner.
func (c *child) Start(context.Context) error {
	defer closeFile(c.cmd.Stderr)
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe for the handshake: %w", err)
	}
	defer func() { _ = w.Close() }() // the child has its own copy
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stdout, c.cmd.Stdout = r, w
	if c.killed {
		err = errors.New("given up before it was started")
	} else {
		err = c.cmd.Start()
	}
	if err != nil {
		_ = r.Close()
		return err
	}
	go c.wait()
	return nil
}

func (c *child) wait() {
	_ = c.cmd.Wait() // exit tells the outcome from the process state
	close(c.done)
	// What is still in the pipe may be a handshake that explains the exit; go-plugin gets a moment.
	time.AfterFunc(time.Second, func() { _ = c.stdout.Close() })
}

func closeFile(w io.Writer) {
	if f, ok := w.(*os.File); ok {
		_ = f.Close() // opened for the child, which has its own copy
	}
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd.Process == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// kill ends the process at once and waits until it is reaped; one that has not been started never is.
func (c *child) kill() {
	c.mu.Lock()
	c.killed = true
	started := c.cmd.Process != nil
	c.mu.Unlock()
	if !started {
		return
	}
	_ = c.cmd.Process.Kill() // fails only if it is gone already
	<-c.done
}

// exit describes how the process ended; empty if it has not.
func (c *child) exit() string {
	select {
	case <-c.done:
		return c.cmd.ProcessState.String()
	default:
		return ""
	}
}

// Wait implements runner.Runner.
func (c *child) Wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill implements runner.Runner; go-plugin calls it when the handshake fails.
func (c *child) Kill(context.Context) error {
	c.kill()
	return nil
}

// Stdout implements runner.Runner.
func (c *child) Stdout() io.ReadCloser { return c.stdout }

// Stderr implements runner.Runner; standard error goes to the log file.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (c *child) Name() string { return c.cmd.Path }

// ID implements runner.Runner.
func (c *child) ID() string { return strconv.Itoa(c.pid()) }

// Diagnose implements runner.Runner; StartError has the process's own words.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (c *child) PluginToHost(network, addr string) (string, string, error) { return network, addr, nil }

// HostToPlugin implements runner.AddrTranslator.
func (c *child) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }
