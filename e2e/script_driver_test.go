package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// TestScriptDriver: a driver in another language than Go passes every check, and runs a service. Its instances outlive the daemon and
// the driver itself, both of which find them again.
func TestScriptDriver(t *testing.T) {
	t.Parallel()
	binary, app := scriptDriver(t)
	config := filepath.Join(t.TempDir(), "instard.hcl")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(scriptConfig, filepath.Dir(binary))), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, node.Options{Config: config}, func(dataDir string) {
		if err := node.Lock(t.Context(), built.bin, dataDir, binary); err != nil {
			t.Fatal(err)
		}
	})
	if out := c.must("driver", "docs", "script"); !strings.Contains(out, "interpreter") || !strings.Contains(out, "list(string)") {
		t.Errorf("driver docs does not document it:\n%s", out)
	}
	apply := func(greeting string) (code int, out string) {
		spec := filepath.Join(t.TempDir(), "greeter.hcl")
		if err := os.WriteFile(spec, []byte(fmt.Sprintf(scriptSpec, app, greeting, c.listen)), 0o600); err != nil {
			t.Fatal(err)
		}
		return c.instar("apply", "-yes", spec)
	}
	page := func(want string) {
		t.Helper()
		if got := fetch(t, "http://"+c.listen+"/"); got != want {
			t.Errorf("the page shows %q, want %q", got, want)
		}
	}
	if code, out := apply("good morning"); code != 0 {
		t.Fatalf("apply: exit code %d\n%s", code, out)
	}
	page("good morning from revision 1\n")
	if code, out := apply("good evening"); code != 0 {
		t.Fatalf("apply: exit code %d\n%s", code, out)
	}
	page("good evening from revision 2\n")
	before := c.running("greeter")

	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	page("good evening from revision 2\n")
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.unchanged("greeter", before)

	c.killDriver("script")
	page("good evening from revision 2\n")
	c.unchanged("greeter", before)
	if out := c.must("logs", "greeter"); !strings.Contains(out, "listening") {
		t.Errorf("the logs do not have what the instances print:\n%s", out)
	}
	c.changeByHand(before)
	c.must("service", "delete", "-yes", "greeter")
}

// killDriver kills the process of a compute driver, and waits until another one runs and is healthy.
func (c *cluster) killDriver(name string) {
	c.Helper()
	process := "compute_" + name + "_local"
	first := c.drivers()[process]
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		c.Fatal(err)
	}
	c.await("the driver runs again and is healthy", func() bool {
		_, out := c.instar("driver", "show", name)
		return c.drivers()[process] != first && strings.Contains(out, "healthy") && !strings.Contains(out, "unhealthy")
	})
}

// changeByHand changes the script of one instance, and waits until another has taken its place. The daemon compares what
// there is when a driver begins anew, and otherwise every five minutes, for which nobody waits here.
func (c *cluster) changeByHand(before map[string]string) {
	c.Helper()
	scripts, err := filepath.Glob(filepath.Join(c.node.DataDir(), "drivers", "targets", "compute_script_local", "state", "instances", "*", "script.mjs"))
	if err != nil || len(scripts) != len(before) {
		c.Fatalf("the scripts of %d instances: %v, %v", len(before), scripts, err)
	}
	if err := os.WriteFile(scripts[0], []byte("// not what was deployed\n"), 0o600); err != nil {
		c.Fatal(err)
	}
	c.killDriver("script")
	c.await("the instance that was changed by hand is replaced", func() bool {
		now, same := c.running("greeter"), 0
		for id := range now {
			if _, ok := before[id]; ok {
				same++
			}
		}
		return len(now) == len(before) && same == len(before)-1
	})
}

// running lists a service's instances that are wanted, by id, with their place and fingerprint.
func (c *cluster) running(service string) map[string]string {
	c.Helper()
	page, err := c.node.API.Instances(c.Context(), client.List{Service: service, Limit: 1000})
	if err != nil {
		c.Fatal(err)
	}
	found := map[string]string{}
	for _, v := range page.Items {
		if v.Instance.Desired == core.DesiredRun && v.Status != nil && v.Status.Healthy {
			found[v.Instance.ID] = fmt.Sprint(v.Status.Addresses, v.Status.Fingerprint)
		}
	}
	return found
}

// unchanged wants the very same instances to run, which only a driver that has found them again can tell.
func (c *cluster) unchanged(service string, before map[string]string) {
	c.Helper()
	if len(before) == 0 {
		c.Fatalf("%s had no instances", service)
	}
	c.await(service+" has the instances that it had", func() bool {
		now := c.running(service)
		if len(now) != len(before) {
			return false
		}
		for id, facts := range before {
			if now[id] != facts {
				return false
			}
		}
		return true
	})
}

const scriptConfig = `
cluster     = "scripts"
plugin_dirs = [%q]
node { name = "n1" }
compute "script" "local" { interpreter = ["node"] }
traffic "proxy" "local" {}
`

const scriptSpec = `
service "greeter" {
  count = 2
  artifact { source = %q }
  compute "script" { args = ["serve"] }
  env = { GREETING = %q }
  port "http" {}
  health "http" {
    path        = "/"
    interval    = "200ms"
    healthy_for = "400ms"
  }
  route "greeter" { listen = %q }
  rollout { bake = "0s" }
}
`
