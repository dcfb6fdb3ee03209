package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/e2e/node"
)

// vendorDriver builds testdata/vendor-driver as a vendor does: as a module of its own, outside of the
// repository, which requires the sdk and nothing else of instar.
func vendorDriver(t *testing.T) string {
	t.Helper()
	module := t.TempDir()
	if err := os.CopyFS(module, os.DirFS("testdata/vendor-driver")); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(built.repository, "sdk", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	definition := fmt.Sprintf("module vendor.example/pages\n\ngo 1.26.0\n\nrequire github.com/instarhq/instar/sdk v0.0.0\n\n"+
		"replace github.com/instarhq/instar/sdk => %s/sdk\n", built.repository)
	for name, data := range map[string][]byte{"go.mod": []byte(definition), "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(module, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(module, "bin", "instar-compute-pages")
	build := exec.Command("go", "build", "-mod=mod", "-o", binary, ".")
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the vendor's driver: %v\n%s", err, out)
	}
	list := exec.Command("go", "list", "-mod=mod", "-deps", ".")
	list.Dir = module
	deps, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(deps)) {
		if strings.HasPrefix(dep, "github.com/instarhq/instar") && !strings.HasPrefix(dep, "github.com/instarhq/instar/sdk") {
			t.Errorf("the vendor's driver depends on %s", dep)
		}
	}
	return binary
}

// TestVendorDriver: a driver from outside of the repository is found, verified, documented and used, and an
// instance of it survives the daemon.
func TestVendorDriver(t *testing.T) {
	binary := vendorDriver(t)
	config := filepath.Join(t.TempDir(), "instard.hcl")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(vendorConfig, filepath.Dir(binary))), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, node.Options{Config: config}, func(dataDir string) {
		// Not one of the bundled drivers, so the operator says that it may run.
		if err := os.Mkdir(dataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(filepath.Join(built.bin, "instard"), "lock", "-data-dir", dataDir, binary).CombinedOutput(); err != nil {
			t.Fatalf("instard lock: %v\n%s", err, out)
		}
	})
	if out := c.must("driver", "list"); !strings.Contains(out, "pages") {
		t.Errorf("driver list does not have it:\n%s", out)
	}
	if out := c.must("driver", "docs", "pages"); !strings.Contains(out, "What stands above the text.") {
		t.Errorf("driver docs does not document it:\n%s", out)
	}
	page := filepath.Join(t.TempDir(), "page.txt")
	if err := os.WriteFile(page, []byte("hello from a vendor"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := c.must("driver", "verify", "-artifact", page, "-missing", page+".not", "-port", "http", binary)
	if !strings.Contains(out, "I4: create is idempotent across driver processes") {
		t.Errorf("driver verify does not name its checks:\n%s", out)
	}
	spec := filepath.Join(t.TempDir(), "pages.hcl")
	if err := os.WriteFile(spec, []byte(fmt.Sprintf(pagesSpec, page, c.listen)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("apply", "-yes", spec)
	if got := fetch(t, "http://"+c.listen+"/"); got != "Title\nhello from a vendor" {
		t.Errorf("the page shows %q", got)
	}
	if code, out := c.instar("apply", "-yes", "-var", "title=[]", spec); code == 0 {
		t.Errorf("an undeclared variable is accepted:\n%s", out)
	}
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, "http://"+c.listen+"/"); got != "Title\nhello from a vendor" {
		t.Errorf("without the daemon the page shows %q", got)
	}
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const vendorConfig = `
cluster     = "vendor"
plugin_dirs = [%q]
node { name = "n1" }
compute "process" "local" {}
compute "pages" "vendor" {}
traffic "proxy" "local" {}
`

const pagesSpec = `
service "pages" {
  count = 2
  artifact { source = %q }
  compute "pages" { title = "Title" }
  port "http" {}
  health "http" {
    path        = "/"
    interval    = "200ms"
    healthy_for = "400ms"
  }
  route "pages" { listen = %q }
  rollout { bake = "0s" }
}
`
