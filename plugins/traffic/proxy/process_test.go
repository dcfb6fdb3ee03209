package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
	"github.com/instarhq/instar/sdk/wire"
)

// built is the folder with the driver's binary; empty if nobody wanted it.
var built string

// build builds the driver's binary, once for all tests.
var build = sync.OnceValues(func() (path string, err error) {
	if built, err = os.MkdirTemp("", "instar-proxy-"); err != nil {
		return "", err
	}
	path = filepath.Join(built, "instar-traffic-proxy")
	out, err := exec.Command("go", "build", "-o", path, "github.com/instarhq/instar/cmd/instar-traffic-proxy").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, err
})

// program is the driver's binary.
func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := os.RemoveAll(built); err != nil {
		fmt.Fprintln(os.Stderr, "proxy_test:", err)
		code = 1
	}
	os.Exit(code)
}

// process is the driver as instard runs it.
type process struct {
	*launch.Process
	sdk.Traffic
	log string
}

// start launches the driver, which begins to serve from dir at once.
func start(t *testing.T, program, dir string) *process {
	t.Helper()
	private, err := os.MkdirTemp("", "proxy-") //nolint:usetesting // TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(private) })
	log := filepath.Join(private, "log")
	p, err := launch.Start(t.Context(), launch.Options{
		Path: program, Dir: filepath.Join(private, "launch"), SocketDir: private, Log: log, Env: []string{proxy.EnvStateDir + "=" + dir},
	})
	if err != nil {
		t.Fatal(err)
	}
	driver, err := p.Driver(sdk.KindTraffic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = p.Stop(ctx) // kills it, if it still runs
		if t.Failed() {
			said, _ := os.ReadFile(log)
			t.Logf("log of process %d:\n%s", p.State().PID, said)
		}
	})
	return &process{p, driver.(sdk.Traffic), log}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.State().PID, s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) awaitEnd(t *testing.T, what string) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatalf("the process does not end %s", what)
	}
}

// The whole life of real processes: upgrade, SIGTERM, SIGKILL.
func TestProcesses(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	route := sdk.Route{
		ID: "web", Generation: 1, Listen: freeAddress(t), Protocol: sdk.ProtocolHTTP, Drain: patience,
		Pools: []sdk.Pool{pool(1, revision(t, 1))},
	}
	first := start(t, binary, dir)
	if err := first.Configure(t.Context(), configure(dir)); err != nil {
		t.Fatal(err)
	}
	if err := first.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, route: route}
	l := startLoad(t, r)
	l.more(50)

	// An upgrade: the successor is only started, nobody tells it anything, and the first ends by itself.
	second := start(t, binary, dir)
	first.awaitEnd(t, "after another one has taken over")
	l.more(50)
	if err := second.Configure(t.Context(), configure(dir)); err != nil {
		t.Fatal(err)
	}
	o, err := second.Observe(t.Context(), "web")
	if err != nil || o.Generation != 1 || !o.Listening || o.Pools[0].Endpoints[0].Requests < uint64(l.sent.Load()/2) {
		t.Errorf("the second process has %+v, %v; %d requests were sent", o, err, l.sent.Load())
	}
	l.end()

	// SIGTERM without a successor: what is in flight ends well, then the process ends.
	second.signal(t, syscall.SIGTERM)
	second.awaitEnd(t, "after SIGTERM")

	third := start(t, binary, dir)
	eventually(t, "the third process serves what it found", func() bool { return answers(r) })
	third.signal(t, syscall.SIGKILL)
	third.awaitEnd(t, "after SIGKILL")
	fourth := start(t, binary, dir)
	began := time.Now()
	eventually(t, "the fourth process serves what it found", func() bool { return answers(r) })
	t.Logf("after SIGKILL: %s from the handshake to the first answer", time.Since(began))
	if err := fourth.Configure(t.Context(), configure(dir)); err != nil {
		t.Fatal(err)
	}
	atRest(t, fourth.State().PID)
}

func answers(r *rig) bool {
	resp, err := http.Get(r.url("/"))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// atRest wants a process that has nothing to do to need little memory and no CPU.
func atRest(t *testing.T, pid int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	before := cpu(t, pid)
	<-time.After(time.Second)
	used := cpu(t, pid) - before
	t.Logf("at rest: %d KiB resident, %d ticks of CPU in a second", kib, used)
	if kib > 25<<10 {
		t.Errorf("%d KiB are resident, want at most 25 MiB", kib)
	}
	if used > 2 {
		t.Errorf("%d of 100 ticks of CPU were used at rest", used)
	}
}

// cpu is the CPU time that a process has used, in ticks.
func cpu(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+2:])
	total := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// Successors that are killed at any point of the hand-over leave a process in charge, or a state that the
// next one serves from.
func TestKilledSuccessors(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	current := start(t, binary, dir)
	if err := current.Configure(t.Context(), configure(dir)); err != nil {
		t.Fatal(err)
	}
	route := sdk.Route{
		ID: "web", Generation: 1, Listen: freeAddress(t), Protocol: sdk.ProtocolHTTP, Drain: time.Second,
		Pools: []sdk.Pool{pool(1, revision(t, 1))},
	}
	if err := current.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, route: route}
	took := 0
	for i := range 20 {
		cmd := exec.Command(binary)
		cmd.Env = []string{proxy.EnvStateDir + "=" + dir, wire.Handshake.MagicCookieKey + "=" + wire.Handshake.MagicCookieValue}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(i) * 3 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		deadline := time.Now().Add(2 * time.Second)
		for !answers(r) {
			if time.Now().After(deadline) {
				t.Fatalf("kill %d: nobody answers, and process %d does not end", i, current.State().PID)
			}
			select {
			case <-current.Done(): // the successor had taken over before it was killed
				took++
				current = start(t, binary, dir)
				deadline = time.Now().Add(patience)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	t.Logf("%d of 20 had taken over", took)
	if err := current.Configure(t.Context(), configure(dir)); err != nil {
		t.Fatal(err)
	}
	if o, err := current.Observe(t.Context(), "web"); err != nil || o.Generation != 1 || !o.Listening {
		t.Errorf("in the end: %+v, %v", o, err)
	}
}
