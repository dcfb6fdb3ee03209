package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// step is one command of the README's tour, and the output that the README promises: a line that is … stands
// for any lines, and a … within a line for any text.
type step struct {
	command string
	output  []string
}

// tour reads the console blocks of a section of the README, which has so many commands at least.
func tour(t *testing.T, title string, least int) []step {
	t.Helper()
	steps := stepsOf(t, "README.md", title)
	if len(steps) < least {
		t.Fatalf("the tour has %d steps only", len(steps))
	}
	return steps
}

// stepsOf reads the console blocks of a section of a file of the repository.
func stepsOf(t *testing.T, file, title string) []step {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(built.repository, file))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(data), "\n## "+title+"\n")
	section, _, ended := strings.Cut(section, "\n## ")
	if !found || !ended {
		t.Fatalf("%s has no section called %s with one after it", file, title)
	}
	var steps []step
	inside := false
	for line := range strings.Lines(section) {
		line = strings.TrimRight(line, "\n")
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && isCommand:
			steps = append(steps, step{command: command})
		case inside && len(steps) > 0:
			last := &steps[len(steps)-1]
			last.output = append(last.output, line)
		}
	}
	return steps
}

// pattern is what the output has to match.
func (s step) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`^`)
	for _, line := range s.output {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + `\n`)
	}
	return regexp.MustCompile(b.String() + `$`)
}

// TestREADMETour runs the tour line by line, in one shell, and compares what it prints with the README. Only
// the data directory and the shop's port are others than there.
func TestREADMETour(t *testing.T) {
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	port, err := node.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/tmp/instar", filepath.Join(dir, "d"), "127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", port))
	t.Cleanup(func() { // also if the tour breaks off before its own end
		out, err := exec.Command(filepath.Join(built.bin, "instard"), "teardown", "-yes", "-data-dir", filepath.Join(dir, "d")).CombinedOutput()
		if err != nil {
			t.Errorf("teardown: %v\n%s", err, out)
		}
	})
	shell := newShell(t, fmt.Sprintf("INSTAR_VAR_listen=127.0.0.1:%d", port))
	for _, s := range tour(t, "A tour", 15) {
		s.command = here.Replace(s.command)
		for i := range s.output {
			s.output[i] = here.Replace(s.output[i])
		}
		if strings.HasPrefix(s.command, "instard teardown") {
			shell.stopDaemon()
		}
		if strings.HasPrefix(s.command, "build/bin/instard") {
			shell.startDaemon(s)
			continue
		}
		status, out := shell.run(s.command)
		if status != "0" {
			t.Fatalf("$ %s\nexit status %s\n%s", s.command, status, out)
		}
		if !s.pattern().MatchString(out) {
			t.Errorf("$ %s\nprinted\n%s\nthe README promises\n%s", s.command, out, strings.Join(s.output, "\n"))
		}
	}
}

// TestREADMEThreeMachines runs the section on clusters: three nodes on this machine, and the way back from the
// loss of all. Only the directories are others than there.
func TestREADMEThreeMachines(t *testing.T) {
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for i := 1; i <= 3; i++ {
			data := filepath.Join(dir, fmt.Sprint("n", i))
			if _, err := os.Stat(data); err != nil {
				continue
			}
			if out, err := exec.Command(filepath.Join(built.bin, "instard"), "teardown", "-yes", "-data-dir", data).CombinedOutput(); err != nil {
				t.Errorf("teardown: %v\n%s", err, out)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	here := strings.NewReplacer("/tmp/instar-", dir+"/", "examples/cluster", dir)
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("n%d.hcl", i)
		data, err := os.ReadFile(filepath.Join(built.repository, "examples", "cluster", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(here.Replace(string(data))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := newShell(t, "PATH="+built.bin+":"+os.Getenv("PATH"))
	for _, s := range tour(t, "Three machines", 10) {
		s.command = here.Replace(s.command)
		for i := range s.output {
			s.output[i] = here.Replace(s.output[i])
		}
		status, out := shell.run(s.command)
		if status != "0" {
			t.Fatalf("$ %s\nexit status %s\n%s", s.command, status, out)
		}
		if strings.Contains(s.command, "instard -config") {
			awaitSockets(t, dir, s.command) // nobody types as fast as a test
			continue
		}
		if !s.pattern().MatchString(out) {
			t.Errorf("$ %s\nprinted\n%s\nthe README promises\n%s", s.command, out, strings.Join(s.output, "\n"))
		}
	}
}

// awaitSockets waits until the instards that a command has begun answer.
func awaitSockets(t *testing.T, dir, command string) {
	t.Helper()
	names := []string{"n1"}
	if strings.Contains(command, "n1 n2 n3") {
		names = []string{"n1", "n2", "n3"}
	}
	for _, name := range names {
		api, err := client.New("unix://" + filepath.Join(dir, name, "instar.sock"))
		if err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(20 * time.Millisecond)
		for end := time.Now().Add(30 * time.Second); ; <-tick.C {
			if _, err = api.Health(t.Context()); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not answer: %v", name, err)
			}
		}
		tick.Stop()
		api.Close()
	}
}

// shell is the terminal in which the tour is typed, and the one beside it in which the daemon runs.
type shell struct {
	*testing.T
	in     io.Writer
	out    *bufio.Reader
	env    []string
	daemon *exec.Cmd
}

func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Env = built.repository, append(os.Environ(), env...)
	return startShell(t, cmd)
}

// startShell runs a command that becomes a shell.
func startShell(t *testing.T, cmd *exec.Cmd) *shell {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{T: t, in: in, out: bufio.NewReader(out), env: cmd.Env}
	t.Cleanup(func() {
		s.stopDaemon()
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the shell: %v", err)
		}
	})
	return s
}

// run types one command and returns its exit status and output.
func (s *shell) run(command string) (status, output string) {
	s.Helper()
	const mark = "=== exit status "
	if _, err := fmt.Fprintf(s.in, "%s\necho \"%s$?\"\n", command, mark); err != nil {
		s.Fatal(err)
	}
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.Fatalf("$ %s\nended the shell: %v\n%s", command, err, b.String())
		}
		if status, ok := strings.CutPrefix(line, mark); ok {
			return strings.TrimSpace(status), b.String()
		}
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

// startDaemon runs the daemon in its own terminal until it has printed what the README says.
func (s *shell) startDaemon(step step) {
	s.Helper()
	words := strings.Fields(step.command)
	s.await(step, exec.Command(filepath.Join(built.repository, words[0]), words[1:]...))
}

// await runs the command of a step as the daemon until it has printed what is promised.
func (s *shell) await(step step, daemon *exec.Cmd) {
	s.Helper()
	s.daemon = daemon
	var out lockedBuffer
	s.daemon.Env, s.daemon.Stdout, s.daemon.Stderr = s.env, &out, &out
	if err := s.daemon.Start(); err != nil {
		s.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for !step.pattern().MatchString(out.String()) {
		if time.Now().After(deadline) {
			s.Fatalf("$ %s\nprinted\n%s\nthe README promises\n%s", step.command, out.String(), strings.Join(step.output, "\n"))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stopDaemon is Ctrl-C in the daemon's terminal.
func (s *shell) stopDaemon() {
	if s.daemon == nil {
		return
	}
	if err := s.daemon.Process.Signal(syscall.SIGINT); err != nil {
		s.Error(err)
	}
	if err := s.daemon.Wait(); err != nil {
		s.Errorf("instard after Ctrl-C: %v", err)
	}
	s.daemon = nil
}

// lockedBuffer collects output while it is looked at.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
