package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// exampleREADME is what a new user reads.
const exampleREADME = "examples/docker-haproxy/README.md"

// TestDockerHAProxyExample types the commands of the example's README, letter by letter, at a machine that has Docker,
// HAProxy and what make build has made, and nothing else. Customers come while the second version takes over.
func TestDockerHAProxyExample(t *testing.T) {
	t.Parallel()
	commands := stepsOf(t, exampleREADME, "Five commands")
	if len(commands) != 5 {
		t.Fatalf("%s has %d commands, not five", exampleREADME, len(commands))
	}
	m := newMachine(t)
	for _, s := range commands[:4] {
		m.do(s)
	}
	customers, err := load.Start(t.Context(), load.Config{
		Target: m.relay("127.0.0.1:8080"), RevisionHeader: load.ShopRevisionHeader, Streams: load.ShopStreams(0.3),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { customers.Stop() })
	m.do(commands[4])
	for _, s := range stepsOf(t, exampleREADME, "What to look at") {
		m.do(s)
	}
	m.judge(customers.Stop())
	m.stopDaemon()
	for _, s := range stepsOf(t, exampleREADME, "The end") {
		m.do(s)
	}
	if status, out := m.run("ls -A /tmp; docker ps -aq; docker images -q"); status != "0" || out != "" {
		t.Errorf("at the end there still is:\n%s", out)
	}
}

// machine is a Debian machine with Docker and HAProxy: a network, a /tmp and a /run of its own. It shares the
// programs with this one, and its Docker Engine is a private one.
type machine struct {
	*shell
	pid string // of the shell, whose namespaces are the machine's
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	engine, err := dockertest.Start(t.Context())
	dockertest.Need(t, err)
	t.Cleanup(func() {
		if err := engine.Stop(); err != nil {
			t.Error(err)
		}
	})
	dockerd, err := os.ReadFile(filepath.Join(engine.Dir, "dockerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsenter", "--net=/proc/"+strings.TrimSpace(string(dockerd))+"/ns/net",
		"unshare", "--mount", "--propagation", "private", "bash", "-euc", emptyMachine)
	cmd.Env = append(os.Environ(), "CHECKOUT="+checkout(t), "BIN="+built.bin, "ENGINE="+engine.Dir, "HOME=/run/home")
	m := &machine{shell: startShell(t, cmd)}
	_, pid := m.run("echo $$")
	m.pid = strings.TrimSpace(pid)
	t.Cleanup(func() { // also if the example breaks off before its own end
		m.stopDaemon()
		_, out := m.run("test ! -e /tmp/instar-shop/instar || build/bin/instard teardown -yes -data-dir /tmp/instar-shop/instar; " +
			"test ! -e /tmp/instar-shop/haproxy.pid || kill $(cat /tmp/instar-shop/haproxy.pid)")
		if t.Failed() {
			t.Log(out)
		}
	})
	return m
}

// emptyMachine makes the machine and becomes its shell, in the root of the repository.
const emptyMachine = `
mount -t tmpfs none /run
mkdir -p /run/home /run/checkout /run/engine
mount --bind "$CHECKOUT" /run/checkout
mount --bind "$BIN" /run/checkout/build/bin
mount --bind "$ENGINE" /run/engine
ln -s /run/engine/docker.sock /run/docker.sock
mount -t tmpfs none /tmp
cd /run/checkout
unset CHECKOUT BIN ENGINE
exec bash
`

// checkout is the part of the repository that the example uses, with what make build makes.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	example := filepath.Dir(exampleREADME)
	if err := os.CopyFS(filepath.Join(root, example), os.DirFS(filepath.Join(built.repository, example))); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "build", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "2"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version="+version,
			"-o", filepath.Join(root, "build", "shop", version, "shop"), "./examples/shop")
		build.Dir, build.Env = built.repository, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the shop: %v\n%s", err, out)
		}
	}
	return root
}

// do types one command and compares what it prints with what is promised.
func (m *machine) do(s step) {
	m.Helper()
	if strings.HasPrefix(s.command, "build/bin/instard -config") {
		m.await(s, exec.Command("nsenter", "--target", m.pid, "--net", "--mount", "bash", "-c", "cd /run/checkout && exec "+s.command))
		return
	}
	status, out := m.run(s.command)
	if status != "0" {
		m.Fatalf("$ %s\nexit status %s\n%s", s.command, status, out)
	}
	if !s.pattern().MatchString(out) {
		m.Errorf("$ %s\nprinted\n%s\nthe README promises\n%s", s.command, out, strings.Join(s.output, "\n"))
	}
}

// judge compares what the customers saw with the log.
func (m *machine) judge(result *load.Result) {
	m.Helper()
	api, err := client.New(fmt.Sprintf("unix:///proc/%s/root/tmp/instar-shop/instar.sock", m.pid))
	if err != nil {
		m.Fatal(err)
	}
	defer api.Close()
	records, err := judge.Read(m.Context(), api)
	if err != nil {
		m.Fatal(err)
	}
	switches, err := judge.Switches(records, "shop")
	if err != nil {
		m.Fatal(err)
	}
	if len(switches) != 3 || switches[1].To != 2 || switches[2].To != 1 {
		m.Errorf("the route was switched %+v, want to 1, to 2 and back", switches)
	}
	for _, line := range result.Failures(10) {
		m.Errorf("I8: failed: %s", line)
	}
	for i, line := range result.WrongRevision(judge.Timeline(switches)) {
		if i < 10 {
			m.Errorf("I8: wrong revision: %s", line)
		}
	}
	if result.Lost != 0 || len(result.Records) < 100 {
		m.Errorf("%d of %d WebSocket sessions were lost, %d requests", result.Lost, result.Sessions, len(result.Records))
	}
	if broken, err := judge.All(records); err != nil || len(broken) > 0 {
		m.Errorf("%v, %v", broken, err)
	}
}
