package daemon_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/daemon"
	"github.com/instarhq/instar/core/telemetry"
)

// A real node answers Prometheus, over the API's authentication and on the address without any.
func TestMetrics(t *testing.T) {
	d := newDir(t)
	made := d.start(func(c *daemon.Config) { c.Metrics = "127.0.0.1:0" })
	d.deploy()
	plain := "http://" + made.MetricsAddress().String()
	text := get(t, plain+"/metrics")
	for _, line := range []string{
		`instar_build_info{goversion="`, "instar_raft_is_leader 1", "instar_node_ready 1", `instar_service_instances_healthy{service="hello"} 2`,
		`instar_instances{node="n1",phase="running"} 2`, `instar_driver_healthy{driver="process",kind="compute",target="local"} 1`,
		`instar_driver_calls_total{code="ok",driver="process",kind="compute",method="Create",target="local"} 2`,
		`instar_route_targets_lagging{route="hello",service="hello"} 0`, `instar_driver_launches_total{driver="proxy",kind="traffic",target="local"} 1`,
		`instar_api_requests_total{code="200",operation="apply"} 1`, "instar_store_commit_duration_seconds_count ", "instar_heartbeat_acknowledged_age_seconds ",
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no line %s", line)
		}
	}
	d.await("the rollout is counted", func() bool {
		return strings.Contains(get(t, plain+"/metrics"), `instar_rollouts_total{outcome="succeeded",service="hello"} 1`)
	})
	if !regexp.MustCompile(`(?m)^instar_store_file_bytes [1-9]`).MatchString(text) {
		t.Error("the state file has no bytes")
	}
	if body := get(t, plain+"/readyz"); body != "ok\n" {
		t.Errorf("/readyz: %q", body)
	}
	resp, err := http.Get(plain + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the address for Prometheus answers the API: %s", resp.Status)
	}
	over, err := d.api().Metrics(t.Context())
	if err != nil || !bytes.Contains(over, []byte("instar_raft_is_leader 1")) {
		t.Errorf("over the socket: %v", err)
	}
}

const planted = "planted-s3cret-"

// unpack reads a bundle.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(header.Name, "/")
		out[name] = string(data)
	}
}

// withoutTarget takes the targets of a driver out of a node's record.
func withoutTarget(t *testing.T, path, driver string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	var record map[string]any
	if err := json.Unmarshal(data, &record); err != nil {
		t.Error(err)
		return
	}
	targets, _ := record["targets"].([]any)
	record["targets"] = slices.DeleteFunc(targets, func(v any) bool { return v.(map[string]any)["driver"] == driver })
	if data, err = json.Marshal(record); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}

// The bundle has what is needed to find out what is wrong, and none of the secrets that were planted wherever
// instar keeps or hears of any.
func TestDebugBundle(t *testing.T) {
	d := newDir(t)
	t.Cleanup(func() { withoutTarget(t, filepath.Join(d.path, "node.json"), "absent") }) // teardown would ask it
	tail := telemetry.NewLogTail(1000, 1<<20)
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: io.MultiWriter(d.Output(), tail)})
	d.start(func(c *daemon.Config) {
		c.Logger, c.LogTail = logger, tail
		c.Targets = append(c.Targets, daemon.Target{Kind: core.DriverCompute, Driver: "absent", Name: "eu", Decode: func([]core.Attribute, bool) (json.RawMessage, error) {
			return json.RawMessage(`{"password":"` + planted + `target","region":"x"}`), nil
		}})
	})
	folder := t.TempDir()
	config := filepath.Join(folder, "site.conf")
	if err := os.WriteFile(config, []byte(planted+"config"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The instances log their environment and end, so that their last lines are in the failure.
	spec := filepath.Join(folder, "leaky.hcl")
	content := fmt.Sprintf(`
config "site" { data = file("site.conf") }
service "leaky" {
  count = 1
  artifact { source = %q }
  compute "process" { command = ["/bin/sh", "-c", "env; exit 1"] }
  port "http" {}
  env = { PASSWORD = "%senv \"quoted\"" }
  mount "config" {
    config = "site"
    path   = "etc/site.conf"
  }
  rollout { progress_deadline = "3s" }
}`, filepath.Join(bin, "hello"), planted)
	if err := os.WriteFile(spec, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := d.command(exec.CommandContext(t.Context(), "instar", "apply", "-yes", spec)).CombinedOutput()
	if err == nil {
		t.Fatalf("what ends at once was rolled out:\n%s", out)
	}
	token := "instar_" + strings.Repeat("abcdefgh", 6)
	logger.Warn("a careless line", "env", planted+`env "quoted"`, "token", token, "url", "https://user:"+planted+"url@example.com/")

	bundle := filepath.Join(folder, "out.tar.gz")
	d.cli("debug", "-o", bundle)
	files := unpack(t, bundle)
	for name, has := range map[string]string{
		"version.json": `"1.0.0"`, "config.json": `"process"`, "store.json": `"state": "leader"`, "members.json": `"n1"`, "metrics.txt": "instar_raft_is_leader 1",
		"goroutines.txt": "goroutine ", "heap.pprof": "\x1f\x8b", "audit.json": "service.apply", "disk.json": "free_bytes", "logs/instard.log": "a careless line",
		"logs/compute-process-local.log": "", "state/services.json": "leaky", "state/revisions.json": `"PASSWORD": "(masked)"`, "state/rollouts.json": `"failed"`,
		"drivers.json": `"Launches": 1`, "state/nodes.json": "n1",
	} {
		if got, there := files[name]; !there || !strings.Contains(got, has) {
			t.Errorf("%s (there: %v) lacks %s:\n%.2000s", name, there, has, got)
		}
	}
	if !strings.Contains(files["config.json"], `"password": "(masked)"`) {
		t.Errorf("the target's secret is not masked: %s", files["config.json"])
	}
	for name, text := range files {
		for _, secret := range []string{planted, token, "PRIVATE KEY"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", name, secret)
			}
		}
	}
	if problems, there := files["errors.txt"]; there {
		t.Errorf("not everything could be had:\n%s", problems)
	}
	// A file that is there is not overwritten.
	if err := d.command(exec.CommandContext(t.Context(), "instar", "debug", "-o", bundle)).Run(); err == nil {
		t.Error("the bundle was overwritten")
	}
}
