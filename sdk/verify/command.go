package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Commands are shell commands that act on the backend: the Backend of `instar driver verify`, whose flags their errors
// name. Each is run by sh with the environment of this process, and
//
//	VERIFY_TARGET, VERIFY_NODE, VERIFY_CLUSTER, VERIFY_GENERATION   whom the driver was configured for
//	VERIFY_STATE_DIR   the target's state directory
//	VERIFY_CONFIG      the target's configuration, JSON
//	VERIFY_DELAY_MS    Slow: by how many milliseconds each answer is to be late; 0: as before
//	VERIFY_INSTANCE    Change: the instance's id
//
// A command has failed if its status is not 0. What it has started in the background goes on when it ends.
type Commands struct {
	Stop, Start string        // -backend-stop, -backend-start
	Slow        string        // -backend-slow
	Holds       string        // -holds: one line on standard output for each instance
	Change      string        // -change
	Limit       time.Duration // of each of them, then it is killed; 0: a minute
}

// Backend makes a backend of the commands that there are.
func (c Commands) Backend() Backend {
	b := Backend{Limit: c.Limit}
	plain := func(flag, command string) func(context.Context, sdk.ConfigureRequest) error {
		if command == "" {
			return nil
		}
		return func(ctx context.Context, req sdk.ConfigureRequest) error {
			_, err := shell(ctx, flag, command, req)
			return err
		}
	}
	b.Stop, b.Start = plain("-backend-stop", c.Stop), plain("-backend-start", c.Start)
	if c.Slow != "" {
		b.Slow = func(ctx context.Context, req sdk.ConfigureRequest, delay time.Duration) error {
			_, err := shell(ctx, "-backend-slow", c.Slow, req, "VERIFY_DELAY_MS="+strconv.FormatInt(delay.Milliseconds(), 10))
			return err
		}
	}
	if c.Holds != "" {
		b.Holds = func(ctx context.Context, req sdk.ConfigureRequest) ([]string, error) {
			out, err := shell(ctx, "-holds", c.Holds, req)
			return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' }), err
		}
	}
	if c.Change != "" {
		b.Change = func(ctx context.Context, req sdk.ConfigureRequest, id string) error {
			_, err := shell(ctx, "-change", c.Change, req, "VERIFY_INSTANCE="+id)
			return err
		}
	}
	return b
}

// shell runs a command for a target and returns what it wrote to standard output. Its output goes to files and not to
// pipes: a daemon that it starts in the background may hold them for as long as it likes.
func shell(ctx context.Context, flag, command string, req sdk.ConfigureRequest, more ...string) (string, error) {
	stdout, err := scratch()
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer func() { _ = stdout.Close() }() // read already
	stderr, err := scratch()
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer func() { _ = stderr.Close() }()                // read already
	cmd := exec.CommandContext(ctx, "sh", "-c", command) //nolint:gosec // whoever verifies says which
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(append(os.Environ(), facts(req)...), more...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to be killed with all that it waits for
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	began := time.Now()
	err = cmd.Run()
	out := written(stdout)
	if err == nil {
		return out, nil
	}
	took := time.Since(began).Round(time.Millisecond)
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it did not end within %s, and was killed", took)
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.As(err, &exit):
		err = fmt.Errorf("%w after %s", err, took)
	}
	words := strings.TrimSpace(strings.ToValidUTF8(out+written(stderr), "\uFFFD"))
	if cut := len(words) - maxWords; cut > 0 {
		words = "…" + strings.ToValidUTF8(words[cut:], "")
	}
	return "", fmt.Errorf("%s %q: %w; it wrote: %s", flag, command, err, cmp.Or(words, "nothing"))
}

// facts are what a command is told of a target.
func facts(req sdk.ConfigureRequest) []string {
	return []string{
		"VERIFY_TARGET=" + req.Target, "VERIFY_NODE=" + req.Node, "VERIFY_CLUSTER=" + req.Cluster,
		"VERIFY_GENERATION=" + strconv.FormatUint(req.Generation, 10), "VERIFY_STATE_DIR=" + req.StateDir,
		"VERIFY_CONFIG=" + cmp.Or(string(req.Config), "{}"),
	}
}

// scratch is a file without a name.
func scratch() (*os.File, error) {
	f, err := os.CreateTemp("", "instar-verify-output-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// How much of a command's output is read, and how much of its end is in an error.
const (
	maxOutput = 1 << 20
	maxWords  = 4 << 10
)

// written is what is in a file, whatever else goes on with it.
func written(f *os.File) string {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxOutput))
	if err != nil {
		return fmt.Sprintf("(its output cannot be read: %v)", err)
	}
	return string(data)
}
