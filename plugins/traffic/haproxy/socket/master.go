package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long HAProxy may take for one exchange. It answers within a millisecond; one that does
// not within this is stopped, swapped out, or overloaded.
const patience = 5 * time.Second

// lineLimit keeps a line of commands below HAProxy's smallest usual buffer (tune.bufsize, 16 KiB).
const lineLimit = 8 << 10

// Master is HAProxy's master process, reached through its socket (haproxy -W -S PATH).
type Master struct {
	Path string
	// Seen remembers the process id of the master, if it is not nil. While that process is there and does not listen,
	// it reloads, and is waited for: it replaces itself by a new image of its program, which opens the socket when it has
	// read the configuration.
	Seen *atomic.Int64
}

// Worker is one worker process of a master.
type Worker struct {
	PID     int
	Old     bool // it finishes what it has since a reload, and takes nothing new
	Version string
}

// ErrAbsent says that no HAProxy runs.
var ErrAbsent = errors.New("HAProxy cannot be reached")

// ErrCut says that HAProxy closed the connection before it had answered everything, or that the worker is no more: a
// master that reloads closes all of them, and a worker may end in the middle of what it says. Which commands have taken
// effect is not known.
var ErrCut = errors.New("HAProxy has cut its answer off")

// exchange writes text to the socket and reads until HAProxy closes.
func (m Master) exchange(ctx context.Context, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return "", m.explain(err)
	}
	defer func() { _ = conn.Close() }() // all has been read by then
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", m.late(ctx, err)
	}
	// The master keeps the connection for more commands until its client has said its last.
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		return "", m.late(ctx, err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", m.late(ctx, err)
	}
	return string(answer), nil
}

func (m Master) dial(ctx context.Context) (net.Conn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", m.Path)
		if !errors.Is(err, syscall.ECONNREFUSED) || !m.lives() {
			return conn, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// lives says that the master that was seen last is still there.
func (m Master) lives() bool {
	if m.Seen == nil || m.Seen.Load() <= 0 {
		return false
	}
	return !errors.Is(syscall.Kill(int(m.Seen.Load()), 0), syscall.ESRCH)
}

func (m Master) late(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("HAProxy does not answer at %s within %s: is it stopped or overloaded?", m.Path, patience)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: master socket %s: %w", ErrCut, m.Path, err)
	}
	return fmt.Errorf("HAProxy's master socket %s: %w", m.Path, err)
}

func (m Master) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: there is no master socket at %s; HAProxy does not run, or runs without -W -S %s", ErrAbsent, m.Path, m.Path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens at the master socket %s", ErrAbsent, m.Path)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("no permission for the master socket %s: run the driver as its owner, or start HAProxy with -S %s,mode,660,gid,GROUP", m.Path, m.Path)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("HAProxy does not take connections at %s within %s: is it stopped or overloaded?", m.Path, patience)
	}
	return fmt.Errorf("HAProxy's master socket %s: %w", m.Path, err)
}

// Ask sends commands to one worker and returns an answer for each.
func (m Master) Ask(ctx context.Context, pid int, commands ...string) ([]string, error) {
	var answers []string
	for len(commands) > 0 {
		var line strings.Builder
		n := 0
		for ; n < len(commands) && (n == 0 || line.Len()+len(commands[n]) < lineLimit); n++ {
			fmt.Fprintf(&line, "@!%d %s; ", pid, commands[n])
		}
		text, err := m.exchange(ctx, strings.TrimSuffix(line.String(), "; ")+"\n")
		if err != nil {
			return nil, err
		}
		some, err := split(text, n)
		if err != nil {
			return nil, fmt.Errorf("HAProxy's worker %d: %w", pid, err)
		}
		answers = append(answers, some...)
		commands = commands[n:]
	}
	return answers, nil
}

// Send sends a command with lines of payload to one worker.
func (m Master) Send(ctx context.Context, pid int, command, payload string) (string, error) {
	text, err := m.exchange(ctx, fmt.Sprintf("@!%d %s <<\n%s\n", pid, command, payload))
	if err != nil {
		return "", err
	}
	answers, err := split(text, 1)
	if err != nil {
		return "", fmt.Errorf("HAProxy's worker %d: %w", pid, err)
	}
	return answers[0], nil
}

// split cuts what n commands answered: each answer ends with an empty line.
func split(text string, n int) ([]string, error) {
	if strings.Contains(text, "Can't find the target") || strings.Contains(text, "Can't connect to the target") {
		return nil, fmt.Errorf("%w: it has ended", ErrCut)
	}
	if strings.HasPrefix(text, "Permission denied") || strings.Contains(text, "\nPermission denied") {
		return nil, errors.New("permission denied: the master socket needs level admin, which it has unless -S says otherwise")
	}
	var answers []string
	var lines []string
	for line := range strings.Lines(text) {
		if line == "\n" {
			answers = append(answers, strings.Join(lines, ""))
			lines = nil
			continue
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		answers = append(answers, strings.Join(lines, ""))
	}
	if len(answers) < n {
		return nil, fmt.Errorf("%w: %d answers to %d commands: %.200q", ErrCut, len(answers), n, text)
	}
	if len(answers) > n {
		return nil, fmt.Errorf("%d answers to %d commands: %.200q", len(answers), n, text)
	}
	return answers, nil
}
