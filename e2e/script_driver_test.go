package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

// scriptDriver builds the example driver in JavaScript as a vendor would: outside of the repository, with
// nothing of instar's but the .proto files. It is built once for all tests.
var scriptDriver = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(filepath.Dir(built.bin), "script-driver-")
	if err != nil {
		return "", err
	}
	source := filepath.Join(built.repository, "examples", "driver-compute-script")
	for _, command := range []string{
		"cp -rL " + source + "/. . && rm -rf node_modules dist", // -L: proto is a link
		"npm ci",
		"npm test",
		"npm run build",
	} {
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s in %s: %w\n%s", command, dir, err, out)
		}
	}
	return filepath.Join(dir, "dist", "instar-compute-script"), nil
})

func buildScriptDriver(t *testing.T) (binary, app string) {
	t.Helper()
	binary, err := scriptDriver()
	if err != nil {
		t.Fatal(err)
	}
	return binary, filepath.Join(filepath.Dir(binary), "..", "test", "app.mjs")
}

// TestScriptDriverConforms: a driver in another language than Go passes every check, and skips none.
func TestScriptDriverConforms(t *testing.T) {
	t.Parallel()
	binary, app := buildScriptDriver(t)
	cmd := exec.Command(filepath.Join(built.bin, "instar"), "driver", "verify", "-o", "json", "-artifact", app, "-missing", app+".not",
		"-port", "http", "-mounts", "-exits", `{"args": ["exit"]}`, "-talks", `{"args": ["talk"]}`, binary)
	out, err := cmd.Output()
	var report struct {
		Driver  string `json:"driver"`
		Results []struct {
			Name   string `json:"name"`
			Status string `json:"status"`
			Detail string `json:"detail"`
		} `json:"results"`
	}
	if parseErr := json.Unmarshal(out, &report); parseErr != nil {
		t.Fatalf("driver verify: %v, %v\n%s", err, parseErr, out)
	}
	if report.Driver != "script" || len(report.Results) < 50 {
		t.Errorf("the report is about %q and has %d checks", report.Driver, len(report.Results))
	}
	for _, r := range report.Results {
		if r.Status != "pass" {
			t.Errorf("%s: %s\n%s", r.Name, r.Status, r.Detail)
		}
	}
	if err != nil {
		t.Errorf("driver verify: %v", err)
	}
}

// TestScriptDriver: a driver in another language than Go runs a service. Its instances outlive the daemon and
// the driver itself, both of which find them again.
func TestScriptDriver(t *testing.T) {
	t.Parallel()
	binary, app := buildScriptDriver(t)
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

	first := c.drivers()["compute_script_local"]
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.await("the driver runs again and is healthy", func() bool {
		_, out := c.instar("driver", "show", "script")
		return c.drivers()["compute_script_local"] != first && strings.Contains(out, "healthy") && !strings.Contains(out, "unhealthy")
	})
	page("good evening from revision 2\n")
	c.unchanged("greeter", before)
	if out := c.must("logs", "greeter"); !strings.Contains(out, "listening") {
		t.Errorf("the logs do not have what the instances print:\n%s", out)
	}
	c.must("service", "delete", "-yes", "greeter")
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
