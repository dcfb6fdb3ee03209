package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// guide is docs/drivers/guide.md as somebody follows it: in one shell, in a directory of this test's own.
type guide struct {
	*shell
	text string
	here *strings.Replacer
	dir  string // what is called /tmp/instar-guide there
}

const guideFile = "docs/drivers/guide.md"

func newGuide(t *testing.T) *guide {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(built.repository, guideFile))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	listen, err := node.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{dir: filepath.Join(dir, "guide")}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(g.dir, "data")); err == nil { // the guide was not followed to its end
			out, err := exec.Command(filepath.Join(built.bin, "instard"), "teardown", "-yes", "-data-dir", filepath.Join(g.dir, "data")).CombinedOutput()
			if err != nil {
				t.Errorf("teardown: %v\n%s", err, out)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	g.shell = newShell(t, "PATH="+built.bin+":"+os.Getenv("PATH"))
	g.here = strings.NewReplacer("/tmp/instar-guide", g.dir, "~/instar", built.repository, "127.0.0.1:8080", listen)
	g.text = g.here.Replace(string(data))
	return g
}

// follow runs a section's commands and compares what they print with what the guide promises.
func (g *guide) follow(title string, least int) {
	g.Helper()
	steps := stepsOf(g.T, guideFile, title)
	if len(steps) < least {
		g.Fatalf("%s, %s: there are %d steps only", guideFile, title, len(steps))
	}
	for _, s := range steps {
		s.command = g.here.Replace(s.command)
		for i := range s.output {
			s.output[i] = g.here.Replace(s.output[i])
		}
		g.files()
		began := time.Now()
		status, out := g.run(s.command)
		if status != "0" {
			g.Fatalf("$ %s\nexit status %s\n%s", s.command, status, out)
		}
		if !s.pattern().MatchString(out) {
			g.Errorf("$ %s\nprinted\n%s\nthe guide promises\n%s", s.command, out, strings.Join(s.output, "\n"))
		}
		if strings.HasPrefix(s.command, "instard -config") {
			g.awaitDaemon()
		}
		g.Logf("%.1fs $ %s", time.Since(began).Seconds(), s.command)
	}
}

// files writes the blocks that begin with the name of a file, once the directory is there.
func (g *guide) files() {
	g.Helper()
	for _, block := range strings.Split(g.text, "```hcl\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		name, _, _ := strings.Cut(strings.TrimPrefix(block, "# "), "\n")
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			continue
		}
		if err := os.WriteFile(name, []byte(block), 0o600); err != nil {
			g.Fatal(err)
		}
	}
}

// awaitDaemon waits for what nobody types faster than.
func (g *guide) awaitDaemon() {
	g.Helper()
	api, err := client.New("unix://" + filepath.Join(g.dir, "data", "instar.sock"))
	if err != nil {
		g.Fatal(err)
	}
	defer api.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		drivers, err := api.Drivers(g.Context(), client.List{})
		if err == nil && len(drivers.Items) > 0 {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(g.dir, "instard.log")) // more to the error, if there is one
			g.Fatalf("the guide's instard does not answer: %v\n%s", err, log)
		}
	}
}

// scriptDriver builds the example driver in JavaScript, out of the repository and with nothing of instar's but
// the .proto files, and verifies it: all as the guide says, which promises that no check fails.
func scriptDriver(t *testing.T) (binary, app string) {
	t.Helper()
	g := newGuide(t)
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g.follow("In another language", 6)
	dir := filepath.Join(g.dir, "instar-compute-script")
	return filepath.Join(dir, "dist", "instar-compute-script"), filepath.Join(dir, "test", "app.mjs")
}
