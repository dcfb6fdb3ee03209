package logfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/sdk"
)

// log is the log of one instance, with the files open as the instance has them.
type log struct {
	*testing.T
	keeper   *logfile.Keeper
	dir      string
	out, err *os.File
}

func newLog(t *testing.T, dir string, most int64) *log {
	t.Helper()
	k, err := logfile.NewKeeper()
	if err != nil {
		t.Fatal(err)
	}
	l := &log{T: t, keeper: k, dir: dir}
	t.Cleanup(func() { _ = l.keeper.Close() })
	if err := k.Add("i", dir, most); err != nil {
		t.Fatal(err)
	}
	l.out, l.err = l.open(logfile.Stdout), l.open(logfile.Stderr)
	return l
}

func (l *log) open(name string) *os.File {
	l.Helper()
	f, err := os.OpenFile(filepath.Join(l.dir, logfile.Folder, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = f.Close() })
	return f
}

func (l *log) read(opts sdk.LogOptions) []sdk.LogLine {
	l.Helper()
	var lines []sdk.LogLine
	err := l.keeper.Read(l.Context(), "i", opts, func() bool { return true }, func(line sdk.LogLine) error {
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		l.Fatalf("Read: %v", err)
	}
	return lines
}

func (l *log) eventually(what string, ok func() bool) {
	l.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			l.Fatalf("not within 20s: %s", what)
		}
	}
}

func texts(lines []sdk.LogLine) []string {
	all := make([]string, len(lines))
	for n, line := range lines {
		all[n] = line.Text
	}
	return all
}

// Both streams are merged by the time at which lines were written.
func TestOrderAndTime(t *testing.T) {
	l := newLog(t, t.TempDir(), 1<<20)
	began := time.Now()
	var want []string
	for n := range 6 {
		f, name := l.out, "out"
		if n%2 == 1 {
			f, name = l.err, "err"
		}
		text := fmt.Sprintf("%s %d", name, n)
		want = append(want, text)
		fmt.Fprintln(f, text)
		// Until the keeper has noted the time, which it does for all writes of a moment together.
		index := filepath.Join(l.dir, "std"+name+".times")
		l.eventually("the time is noted", func() bool {
			info, err := os.Stat(index)
			return err == nil && info.Size() == int64(n/2+1)*16
		})
	}
	lines := l.read(sdk.LogOptions{})
	if got := texts(lines); !slices.Equal(got, want) {
		t.Errorf("lines are %q, want %q", got, want)
	}
	for _, line := range lines {
		if line.Time.Before(began.Add(-time.Second)) || line.Time.After(time.Now()) || "std"+line.Text[:3] != line.Stream {
			t.Errorf("line %+v", line)
		}
	}
	if got := texts(l.read(sdk.LogOptions{Tail: 3})); !slices.Equal(got, want[3:]) {
		t.Errorf("the last three are %q", got)
	}
	if got := texts(l.read(sdk.LogOptions{Tail: 100})); !slices.Equal(got, want) {
		t.Errorf("the last hundred are %q", got)
	}
}

// What was written while no keeper was there has no time, and what is written after has.
func TestTimeIsUnknownWhileAway(t *testing.T) {
	dir := t.TempDir()
	l := newLog(t, dir, 1<<20)
	if err := l.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l.out, "away")
	k, err := logfile.NewKeeper()
	if err != nil {
		t.Fatal(err)
	}
	l.keeper = k
	if err := k.Add("i", dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l.out, "back")
	l.eventually("both lines are there", func() bool { return len(l.read(sdk.LogOptions{})) == 2 })
	lines := l.read(sdk.LogOptions{})
	if !lines[0].Time.IsZero() || lines[1].Time.IsZero() {
		t.Errorf("lines are %+v", lines)
	}
}

// Long lines are cut, lines without an end come when no more can, and any bytes are passed on.
func TestOddLines(t *testing.T) {
	l := newLog(t, t.TempDir(), 8<<20)
	long := strings.Repeat("x", 300<<10)
	fmt.Fprintf(l.out, "first\n%s\n\nbinary \xff\x01\r\nlast without end", long)
	lines := texts(l.read(sdk.LogOptions{}))
	want := []string{"first", long[:64<<10], "", "binary \xff\x01\r", "last without end"}
	if !slices.Equal(lines, want) {
		for n := range lines {
			lines[n] = lines[n][:min(len(lines[n]), 20)]
		}
		t.Errorf("lines are %q", lines)
	}
}

// A fast writer never waits and never loses what is within the limit; the space stays bounded.
func TestFastWriter(t *testing.T) {
	const most, total = 1 << 20, 30 << 20
	l := newLog(t, t.TempDir(), most)
	var largest int64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				largest = max(largest, used(l.out))
			}
		}
	})
	// A program of its own, as instances are: it must not notice anything.
	cmd := exec.Command("/bin/sh", "-c", `n=0; while [ $n -lt 300 ]; do n=$((n+1)); printf "line %07d "; head -c 99986 /dev/zero | tr '\0' x; echo; done`)
	cmd.Stdout = l.out
	if err := cmd.Run(); err != nil {
		t.Errorf("the writer: %v", err)
	}
	close(stop)
	watch.Wait()
	l.eventually("the file is within its limit", func() bool { return used(l.out) <= most+8192 })
	if info, err := l.out.Stat(); err != nil || info.Size() < total*9/10 {
		t.Errorf("the file's size is %v, %v: the writer's offsets were changed", info.Size(), err)
	}
	if largest > 25<<20 {
		t.Errorf("the file took up to %d bytes", largest)
	}
	lines := l.read(sdk.LogOptions{})
	if len(lines) < 3 || len(lines) > 11 {
		t.Fatalf("%d lines of 100 kB are left of a limit of 1 MiB", len(lines))
	}
	for _, line := range lines {
		if !strings.HasPrefix(line.Text, "line ") || len(line.Text) != 64<<10 {
			t.Errorf("a line begins %q and has %d bytes", line.Text[:min(len(line.Text), 20)], len(line.Text))
		}
	}
}

// used is the space that a file takes.
func used(f *os.File) int64 {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	return st.Blocks * 512
}

// Numbered lines from a writer that is trimmed all the time are read back without a gap, up to the last.
func TestNoGapAtTheEnd(t *testing.T) {
	l := newLog(t, t.TempDir(), 128<<10)
	const last = 40000
	for n := range last + 1 {
		if _, err := fmt.Fprintf(l.out, "%d\n", n); err != nil {
			t.Fatal(err)
		}
	}
	l.eventually("the file is within its limit", func() bool { return used(l.out) <= 128<<10+8192 })
	lines := texts(l.read(sdk.LogOptions{}))
	first := last - len(lines) + 1
	for n, text := range lines {
		if text != fmt.Sprint(first+n) {
			t.Fatalf("line %d of %d is %q, want %d", n, len(lines), text, first+n)
		}
	}
	if len(lines) < 5000 {
		t.Errorf("only %d lines are left", len(lines))
	}
}

// Where holes cannot be punched the file is truncated, and goes on.
func TestWithoutHoles(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("instar-test", dir, "ramfs", 0, ""); err != nil {
		if os.Geteuid() == 0 {
			t.Fatalf("mount ramfs, which cannot punch holes: %v", err)
		}
		inUserNamespace(t)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	l := newLog(t, dir, 64<<10)
	for range 3 {
		fmt.Fprintln(l.out, strings.Repeat("x", 100<<10))
		l.eventually("the file is truncated", func() bool {
			info, err := l.out.Stat()
			return err == nil && info.Size() == 0
		})
	}
	fmt.Fprintln(l.out, "after")
	l.eventually("the line is there", func() bool { return slices.Equal(texts(l.read(sdk.LogOptions{})), []string{"after"}) })
}

// inUserNamespace runs the test once more as root of a user namespace, where it may mount.
func inUserNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv("INSTAR_TEST_NAMESPACE") != "" {
		t.Fatal("mounting is not allowed in a user namespace either")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "INSTAR_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a user namespace: %v\n%s", err, out)
	}
}

// Following yields what is written, until the log is removed; a truncated file is read from its start.
func TestFollow(t *testing.T) {
	l := newLog(t, t.TempDir(), 1<<20)
	fmt.Fprintln(l.out, "old 1\nold 2")
	got := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- l.keeper.Read(t.Context(), "i", sdk.LogOptions{Follow: true, Tail: 1}, func() bool { return true },
			func(line sdk.LogLine) error { got <- line.Text; return nil })
	}()
	want := func(text string) {
		t.Helper()
		select {
		case line := <-got:
			if line != text {
				t.Fatalf("the next line is %q, want %q", line, text)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("line %q did not come", text)
		}
	}
	want("old 2")
	for n := range 5 {
		text := fmt.Sprint("new ", n)
		fmt.Fprint(l.out, text)
		fmt.Fprintln(l.out)
		want(text)
	}
	if err := l.out.Truncate(0); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l.out, "again")
	want("again")
	l.keeper.Remove("i")
	if err := <-ended; err != nil {
		t.Errorf("the end of the log gives %v", err)
	}
	err := l.keeper.Read(t.Context(), "i", sdk.LogOptions{}, func() bool { return true }, nil)
	if !errors.Is(err, logfile.ErrGone) {
		t.Errorf("reading a removed log: %v", err)
	}
}

// A reader that gives up ends the read with its own error, and so does the end of its context.
func TestReaderGivesUp(t *testing.T) {
	l := newLog(t, t.TempDir(), 1<<20)
	fmt.Fprintln(l.out, "line")
	enough := errors.New("enough")
	err := l.keeper.Read(t.Context(), "i", sdk.LogOptions{Follow: true}, func() bool { return true },
		func(sdk.LogLine) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("the read ends with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = l.keeper.Read(ctx, "i", sdk.LogOptions{Follow: true}, func() bool { return true }, func(sdk.LogLine) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the read ends with %v", err)
	}
}
