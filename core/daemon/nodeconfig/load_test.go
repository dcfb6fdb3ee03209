package nodeconfig_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/daemon/nodeconfig"
)

const good = `
data_dir    = "/var/lib/instar"
plugin_dirs = ["/usr/lib/instar/plugins"]
cluster     = "prod"

node {
  name   = "n1"
  labels = { rack = "a" }
}
api { listen = "127.0.0.1:4747" }
log {
  level = "debug"
  json  = true
}
compute "process" "local" { work_dir = "/srv" }
traffic "proxy" "local" {}
`

var schema = []core.Attribute{{Name: "work_dir", Type: json.RawMessage(`"string"`), Doc: "Where."}}

func write(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	c, err := nodeconfig.Load(filepath.Join(write(t, map[string]string{"instard.hcl": good}), "instard.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/var/lib/instar" || c.Node != "n1" || c.Labels["rack"] != "a" || c.Cluster != "prod" ||
		c.Listen != "127.0.0.1:4747" || c.LogLevel != "debug" || !c.LogJSON || len(c.PluginDirs) != 1 || len(c.Targets) != 2 {
		t.Errorf("config %+v", c)
	}
	data, err := c.Targets[0].Decode(schema, true)
	if err != nil || string(data) != `{"work_dir":"/srv"}` {
		t.Errorf("body %s, %v", data, err)
	}
	if data, err = c.Targets[0].Decode(nil, false); err != nil || string(data) != `{"work_dir":"/srv"}` {
		t.Errorf("body without a schema %s, %v", data, err)
	}
}

func TestLoadDirectory(t *testing.T) {
	dir := write(t, map[string]string{"a.hcl": `data_dir = "/d"`, "b.hcl": `traffic "proxy" "local" {}`, "c.txt": "no HCL {"})
	c, err := nodeconfig.Load(dir)
	if err != nil || c.DataDir != "/d" || len(c.Targets) != 1 {
		t.Errorf("config %+v, %v", c, err)
	}
}

func TestClusterBlock(t *testing.T) {
	c, err := nodeconfig.Load(write(t, map[string]string{"x.hcl": `
cluster = "main"
cluster {
  listen          = "10.0.0.1:4748"
  advertise       = "192.0.2.1:4748"
  join_token_file = "/run/token"
  dead_after      = "0s"
}
`}))
	if err != nil {
		t.Fatal(err)
	}
	want := nodeconfig.Member{
		Listen: "10.0.0.1:4748", Advertise: "192.0.2.1:4748", JoinTokenFile: "/run/token", NodeGrace: 30 * time.Second,
	}
	if c.Cluster != "main" || c.Member == nil || *c.Member != want {
		t.Errorf("cluster %q, member %+v", c.Cluster, c.Member)
	}
	if c, err = nodeconfig.Load(write(t, map[string]string{"x.hcl": "cluster {\n  name = \"shop\"\n}\n"})); err != nil || c.Cluster != "shop" {
		t.Errorf("%+v, %v", c, err)
	}
	if c.Member.Listen != "0.0.0.0:4748" || c.Member.DeadAfter != 24*time.Hour {
		t.Errorf("defaults %+v", c.Member)
	}
	if _, err := nodeconfig.Load(write(t, map[string]string{"x.hcl": "cluster {\n  node_grace = \"soon\"\n}\n"})); err == nil {
		t.Error("a duration that is none was read")
	}
}

func TestProblemsHavePlaces(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"syntax", "data_dir = \n", "x.hcl:1"},
		{"unknown attribute", "\ndatadir = \"/d\"\n", "x.hcl:2"},
		{"unknown block", "\n\nstorage {}\n", "x.hcl:3"},
		{"wrong type", "data_dir = [1]\n", "x.hcl:1"},
		{"twice", "traffic \"proxy\" \"a\" {}\ntraffic \"proxy\" \"a\" {}\n", "x.hcl:2"},
		{"bad name", "compute \"Process\" \"local\" {}\n", "x.hcl:1"},
		{"one label", "compute \"process\" {}\n", "x.hcl:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := nodeconfig.Load(write(t, map[string]string{"x.hcl": tt.content}))
			var e *nodeconfig.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want diagnostics", err)
			}
			var out strings.Builder
			if err := e.Print(&out, false, 0); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("no %s in:\n%s", tt.want, out.String())
			}
		})
	}
}

func TestTargetBodyIsCheckedAgainstTheSchema(t *testing.T) {
	c, err := nodeconfig.Load(write(t, map[string]string{"x.hcl": "compute \"process\" \"local\" {\n  workdir = \"/srv\"\n}\n"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Targets[0].Decode(schema, true)
	if err == nil || !strings.Contains(err.Error(), "x.hcl:2") {
		t.Errorf("error %v, want the place of the unknown attribute", err)
	}
}

func TestMissing(t *testing.T) {
	if _, err := nodeconfig.Load(filepath.Join(t.TempDir(), "none.hcl")); err == nil {
		t.Error("a missing file was read")
	}
	if _, err := nodeconfig.Load(t.TempDir()); err == nil {
		t.Error("a directory without configuration was read")
	}
}
