package serve

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/sdk/sdktest"
)

// TestMain lets the test binary be a driver that somebody starts by hand, and a program with a rotating log.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "by-hand":
		Run(sdktest.NewNoopCompute(nil))
		os.Exit(0)
	case "rotate":
		writeMuch(os.Args[1])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = name
	return cmd
}

func TestByHand(t *testing.T) {
	cmd := program(t, "by-hand")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("ended with %v, want status 2", err)
	}
	for _, part := range []string{`compute driver "noop" 0.1.0`, "instar-compute-noop", "instar driver docs noop", "instar driver verify"} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("it does not say %q:\n%s", part, stderr.String())
		}
	}
}

// writeMuch writes about ten times the limit, half of it past the logger.
func writeMuch(path string) {
	file, err := openRotating(path, 10_000)
	if err != nil {
		panic(err)
	}
	line := []byte(strings.Repeat("a", 99) + "\n")
	for range 500 {
		if _, err := file.Write(line); err != nil {
			panic(err)
		}
		if _, err := plainStderr.Write(line); err != nil {
			panic(err)
		}
	}
	panic("the last words")
}

func TestLogIsLimitedAndKeepsTheLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := program(t, "rotate", path).Run(); err == nil {
		t.Fatal("the program did not panic")
	}
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(current), "panic: the last words") {
		t.Errorf("the log ends with %q", current[max(0, len(current)-200):])
	}
	if len(old) > 11_000 || len(current) > 15_000 || len(old) < 9_000 {
		t.Errorf("the logs have %d and %d bytes, with a limit of 10,000", len(current), len(old))
	}
	if files, err := filepath.Glob(path + "*"); err != nil || len(files) != 2 {
		t.Errorf("files are %v, %v", files, err)
	}
}
