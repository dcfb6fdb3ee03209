package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/e2e/node"
)

// generated is a driver as `instar driver new` writes it, built outside of the repository.
type generated struct {
	module, binary, program string
}

// generateDriver makes a new compute driver with the command, and builds it and the program of its test.
func generateDriver(t *testing.T) generated {
	t.Helper()
	parent := t.TempDir()
	g := generated{module: filepath.Join(parent, "driver")}
	g.binary, g.program = filepath.Join(g.module, "build", "instar-compute-acme"), filepath.Join(g.module, "build", "program")
	run := func(dir, program string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = vendorEnv()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
		}
	}
	run(parent, filepath.Join(built.bin, "instar"), "driver", "new", "acme", "-kind", "compute",
		"-dir", "driver", "-sdk", filepath.Join(built.repository, "sdk"))
	run(g.module, "go", "build", "-o", g.binary, ".")
	run(g.module, "go", "build", "-o", g.program, "./testdata/program")
	return g
}

// TestVendorKit: a driver that `driver new` has written is installed beside a running instard, runs a service, survives
// the daemon and its own replacement, cannot be removed while it is in use, and can be when it is not.
func TestVendorKit(t *testing.T) {
	t.Parallel()
	g := generateDriver(t)
	config := filepath.Join(t.TempDir(), "instard.hcl")
	configure := func(target string) {
		if err := os.WriteFile(config, []byte(kitConfig+target), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("")
	c := startCluster(t, node.Options{Config: config}, func(string) {})
	data := "-data-dir=" + c.node.DataDir()

	if out := c.must("driver", "install", g.binary, data); !strings.Contains(out, "installed compute driver acme, version 0.1.0") {
		t.Errorf("driver install says\n%s", out)
	}
	c.awaitCommand("instard has found what was installed", func() bool { return strings.Contains(c.must("driver", "list"), "acme") })
	if out := c.must("driver", "docs", "acme"); !strings.Contains(out, "args") {
		t.Errorf("driver docs does not document it:\n%s", out)
	}
	configure(`compute "acme" "local" {}` + "\n")
	c.restart()
	c.awaitTarget("acme")

	spec := filepath.Join(t.TempDir(), "hello.hcl")
	if err := os.WriteFile(spec, []byte(fmt.Sprintf(kitSpec, g.program, c.listen)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("apply", "-yes", spec)
	before := fetch(t, "http://"+c.listen+"/")
	if !strings.HasPrefix(before, "hello from hello-") {
		t.Errorf("the service answers %q", before)
	}

	refused := func() {
		t.Helper()
		if code, out := c.instar("driver", "remove", "acme", data); code != 1 || !strings.Contains(out, "in use by target local and 1 instances (hello-") {
			t.Errorf("driver remove while it is in use: exit code %d\n%s", code, out)
		}
	}
	refused()
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, "http://"+c.listen+"/"); got != before {
		t.Errorf("without the daemon the service answers %q, it was %q", got, before)
	}
	if code, out := c.instar("driver", "remove", "acme", data); code != 1 || !strings.Contains(out, "in use by target local") {
		t.Errorf("driver remove without the daemon: exit code %d\n%s", code, out)
	}
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.upgradeDriver(g, before, data)
	refused()

	c.must("service", "delete", "hello", "-yes")
	c.awaitCommand("the instances are gone", func() bool { return !strings.Contains(c.must("instance", "list"), "hello-") })
	configure("")
	c.restart()
	c.must("driver", "remove", "acme", data)
	c.awaitCommand("instard has seen that it is gone", func() bool { return !strings.Contains(c.must("driver", "list"), "acme") })
	if out := c.must("driver", "list", "-installed", data); strings.Contains(out, "acme") {
		t.Errorf("driver list -installed still has it:\n%s", out)
	}
}

// upgradeDriver replaces the driver by a newer version while its instance runs.
func (c *cluster) upgradeDriver(g generated, before, data string) {
	c.Helper()
	main := filepath.Join(g.module, "main.go")
	source, err := os.ReadFile(main)
	if err != nil {
		c.Fatal(err)
	}
	if err := os.WriteFile(main, bytes.Replace(source, []byte(`"0.1.0"`), []byte(`"0.2.0"`), 1), 0o600); err != nil {
		c.Fatal(err)
	}
	build := exec.CommandContext(c.Context(), "go", "build", "-o", g.binary, ".")
	build.Dir, build.Env = g.module, vendorEnv()
	if out, err := build.CombinedOutput(); err != nil {
		c.Fatalf("%v\n%s", err, out)
	}
	if code, out := c.instar("driver", "install", g.binary, data); code != 1 || !strings.Contains(out, "-upgrade") {
		c.Errorf("another version without -upgrade: exit code %d\n%s", code, out)
	}
	c.must("driver", "install", g.binary, data, "-upgrade")
	c.awaitCommand("the new version answers", func() bool {
		return strings.Contains(c.must("driver", "show", "acme"), "version 0.2.0")
	})
	if got := fetch(c.T, "http://"+c.listen+"/"); got != before {
		c.Errorf("after the upgrade of the driver the service answers %q, it was %q", got, before)
	}
}

// restart ends instard and starts it again, with the configuration as it is now.
func (c *cluster) restart() {
	c.Helper()
	if err := c.node.Kill(); err != nil {
		c.Fatal(err)
	}
	if err := c.node.Start(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// awaitCommand is await for a condition that runs a command: a process with the race detector is not started fifty
// times a second.
func (c *cluster) awaitCommand(what string, condition func() bool) {
	c.Helper()
	var next time.Time
	c.await(what, func() bool {
		if time.Now().Before(next) {
			return false
		}
		met := condition()
		next = time.Now().Add(500 * time.Millisecond)
		return met
	})
}

func (c *cluster) awaitTarget(driver string) {
	c.Helper()
	c.awaitCommand("the target is healthy", func() bool {
		out := c.must("driver", "show", driver)
		return strings.Contains(out, `target "local"   healthy`)
	})
}

const kitConfig = `
cluster = "kit"
node { name = "n1" }
compute "process" "local" {}
traffic "proxy" "local" {}
`

const kitSpec = `
service "hello" {
  count = 1
  artifact { source = %q }
  compute "acme" { args = ["serve", "127.0.0.1:${port.http}"] }
  port "http" {}
  health "http" {
    path        = "/"
    interval    = "200ms"
    healthy_for = "400ms"
  }
  route "hello" { listen = %q }
  rollout { bake = "0s" }
}
`
