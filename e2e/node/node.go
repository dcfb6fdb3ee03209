package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/core/api/client"
)

// Options say how to run an instard.
type Options struct {
	Bin     string   // the folder with the binaries
	DataDir string   // short enough for a unix socket's name; see TempDir
	Config  string   // configuration file; empty: -dev
	Args    []string // more of them

	waits bool                            // it may wait to be made a member: Start returns when it answers
	wrap  func(command []string) []string // changes the command line; nil: as it is
}

// Node is one instard, which may be down at the moment.
type Node struct {
	options Options
	API     *client.Client
	Address string // for -address and INSTAR_ADDR

	// FirstAnswer is how long the daemon took from exec to its first answer, at its last start.
	FirstAnswer time.Duration

	member  bool // it has been ready before
	anyhow  bool // an answer is enough
	process *exec.Cmd
	ended   chan error // gets the process's end once
}

// TempDir makes a folder for a data directory: with a short path, because of the sockets in it, and
// passable for instances, which run as other users.
func TempDir() (string, error) {
	dir, err := os.MkdirTemp("", "instar-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// Start runs instard and waits until it is ready. With an error, too, it returns the node if there may be
// something to tear down.
func Start(ctx context.Context, options Options) (*Node, error) {
	n := &Node{options: options, Address: "unix://" + filepath.Join(options.DataDir, "instar.sock")}
	api, err := client.New(n.Address)
	if err != nil {
		return nil, err
	}
	n.API = api
	err = n.Start(ctx)
	return n, err
}

// DataDir is the node's data directory.
func (n *Node) DataDir() string { return n.options.DataDir }

// LogPath is the file that instard's standard error goes to.
func (n *Node) LogPath() string { return n.options.DataDir + ".log" }

// Start runs instard again, after Stop or Kill, and waits until it answers.
func (n *Node) Start(ctx context.Context) error {
	log, err := os.OpenFile(n.LogPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	mode := []string{"-dev"}
	if n.options.Config != "" {
		mode = []string{"-config", n.options.Config}
	}
	command := slices.Concat([]string{filepath.Join(n.options.Bin, "instard")}, mode, []string{"-data-dir", n.options.DataDir}, n.options.Args)
	if n.options.wrap != nil {
		command = n.options.wrap(command)
	}
	n.process = exec.Command(command[0], command[1:]...)
	n.process.Stdout, n.process.Stderr = log, log
	n.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is ours to handle
	began := time.Now()
	if err := n.process.Start(); err != nil {
		return err
	}
	n.ended = make(chan error, 1)
	go func(process *exec.Cmd, ended chan error) { ended <- process.Wait() }(n.process, n.ended)
	return n.awaitReady(ctx, began)
}

// startLimit is how long instard may take until it is ready.
const startLimit = 30 * time.Second

func (n *Node) awaitReady(ctx context.Context, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n.FirstAnswer = 0; ; {
		health, err := n.API.Health(ctx)
		if err == nil && n.FirstAnswer == 0 {
			n.FirstAnswer = time.Since(began)
		}
		if err == nil && (health.Ready || n.anyhow || n.options.waits && !n.member && strings.Contains(health.Waiting, "cluster join")) {
			n.member = health.Ready
			return nil
		}
		select {
		case end := <-n.ended:
			n.ended <- end
			return fmt.Errorf("instard ended at its start: %w\n%s", orEnded(end), n.Log(20))
		case <-ctx.Done():
			return fmt.Errorf("instard was not ready within %s: %w\n%s", startLimit, errors.Join(ctx.Err(), err), n.Log(20))
		case <-tick.C:
		}
	}
}

// StartAgain runs instard again and returns when it answers, ready or not: without a quorum no node is.
func (n *Node) StartAgain(ctx context.Context) error {
	n.options.waits = true
	n.anyhow = true
	defer func() { n.anyhow = false }()
	return n.Start(ctx)
}

// AwaitReady waits until the node has caught up and takes writes.
func (n *Node) AwaitReady(ctx context.Context) error {
	return await(ctx, "instard is ready", func() bool {
		health, err := n.API.Health(ctx)
		n.member = n.member || err == nil && health.Ready
		return err == nil && health.Ready
	})
}

// orEnded names an end with exit status 0, which is no error elsewhere.
func orEnded(end error) error {
	if end == nil {
		return errors.New("exit status 0")
	}
	return end
}

// Pid is the daemon's process id.
func (n *Node) Pid() int { return n.process.Process.Pid }

// Running reports whether the process has been started and has not ended.
func (n *Node) Running() bool {
	if n.process == nil || n.ended == nil {
		return false
	}
	select {
	case end := <-n.ended:
		n.ended <- end
		return false
	default:
		return true
	}
}

// Pause stops the process where it is (SIGSTOP); Continue lets it go on. Both do nothing to one that is
// not running.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Continue lets a paused process go on.
func (n *Node) Continue() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) error {
	if !n.Running() {
		return nil
	}
	if err := n.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Restart stops the daemon in order and starts it again.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Stop(ctx); err != nil {
		return err
	}
	return n.Start(ctx)
}

// Use makes the next start run the binaries of another folder: an upgrade.
func (n *Node) Use(bin string) { n.options.Bin = bin }

// Kill ends the daemon with SIGKILL, and nothing else.
func (n *Node) Kill() error {
	if err := n.process.Process.Kill(); err != nil {
		return err
	}
	end := <-n.ended
	n.ended <- end
	return nil
}

// Stop ends the daemon in order. Drivers and instances stay.
func (n *Node) Stop(ctx context.Context) error {
	if n.process == nil || n.process.Process == nil {
		return nil // it never ran
	}
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case end := <-n.ended:
		n.ended <- end
		if end != nil {
			return fmt.Errorf("instard has not stopped in order: %w\n%s", end, n.Log(20))
		}
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("instard did not stop: %w", ctx.Err()), n.Kill())
	}
}

// Teardown stops the daemon if it runs, and then ends every instance and driver of its data directory.
func (n *Node) Teardown(ctx context.Context) error {
	stopped := n.Stop(ctx)
	out, err := exec.CommandContext(ctx, filepath.Join(n.options.Bin, "instard"), "teardown", "-yes", "-data-dir", n.options.DataDir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("instard teardown: %w\n%s", err, out)
	}
	var exit *exec.ExitError
	if errors.As(stopped, &exit) && exit.ExitCode() == -1 {
		stopped = nil // killed before, on purpose
	}
	n.API.Close()
	return errors.Join(stopped, err)
}

// Log returns the last lines of the daemon's log.
func (n *Node) Log(lines int) string {
	data, err := os.ReadFile(n.LogPath())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// CLI runs the client against this daemon and returns its output.
func (n *Node) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, n.Binary("instar"), args...)
	cmd.Env = n.Environment()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Binary is the path of one of the binaries.
func (n *Node) Binary(name string) string { return filepath.Join(n.options.Bin, name) }

// Environment is the test's own, with the client pointed at this daemon.
func (n *Node) Environment() []string { return append(os.Environ(), client.EnvAddress+"="+n.Address) }
