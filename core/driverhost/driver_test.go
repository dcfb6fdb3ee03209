package driverhost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/serve"
	"github.com/instarhq/instar/sdk/wire"
)

// The test binary is also every driver that the tests need: which one, its file name says.
var programs = map[string]func(){
	"instar-compute-good":    func() { serve.Run(&stateful{NoopCompute: named("good")}) },
	"instar-traffic-good":    func() { serve.Run(&sdktest.NoopTraffic{Name: "good", Routes: &sdktest.NoopRoutes{}}) },
	"instar-metrics-good":    func() { serve.Run(&sdktest.NoopMetrics{Name: "good"}) },
	"instar-compute-exits":   func() { fmt.Fprintln(os.Stderr, "no licence found"); os.Exit(3) },
	"instar-compute-hangs":   func() { select {} },
	"instar-compute-rubbish": func() { fmt.Println("hello, world"); select {} },
	"instar-compute-old":     serveOldProtocol,
	"instar-compute-mute":    func() { serve.Run(mute{named("mute")}) },
	"instar-compute-stuck":   func() { serve.Run(stuck{named("stuck")}) },
	"instar-compute-deaf":    func() { serve.Run(deaf{named("deaf")}) },
	"instar-compute-panics":  func() { serve.Run(panics{named("panics")}) },
	"instar-compute-liar":    func() { serve.Run(named("someone-else")) },
	"instar-compute-picky":   func() { serve.Run(picky{named("picky")}) },
	"host":                   runHostProcess,
}

func TestMain(m *testing.M) {
	if program, ok := programs[filepath.Base(os.Args[0])]; ok {
		program()
		os.Exit(0)
	}
	// A process with the race detector waits a second at its end; the drivers of these tests need not.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func named(name string) *sdktest.NoopCompute {
	d := sdktest.NewNoopCompute(nil)
	d.Name = name
	return d
}

// stateful proves that the state directory outlives a process, and takes a configuration.
type stateful struct {
	*sdktest.NoopCompute
}

var statefulTarget = sdk.Schema{{Name: "note", Type: cty.String, Doc: "Shown in the target's attributes."}}

// Describe adds a schema, and lets two binaries of different content be told apart by a file beside them.
func (d *stateful) Describe(ctx context.Context) (sdk.Description, error) {
	desc, err := d.NoopCompute.Describe(ctx)
	desc.Target = statefulTarget
	if strings.HasSuffix(executable(), "2") {
		desc.Version = "0.2.0"
	}
	return desc, err
}

// Configure counts the processes that have worked on the state directory.
func (d *stateful) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	var config struct{ Note string }
	if err := sdk.Decode(statefulTarget, req.Config, &config); err != nil {
		return err
	}
	line := fmt.Sprintf("%d %s\n", os.Getpid(), config.Note)
	f, err := os.OpenFile(filepath.Join(req.StateDir, "configured"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

func executable() string {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return ""
	}
	return path
}

// serveOldProtocol speaks a version of the protocol that nobody knows.
func serveOldProtocol() {
	set := wire.ServerPlugins(named("old"))[sdk.ProtocolVersion]
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake, VersionedPlugins: map[int]plugin.PluginSet{99: set},
		GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}

// mute never describes itself.
type mute struct{ *sdktest.NoopCompute }

func (mute) Describe(context.Context) (sdk.Description, error) {
	select {}
}

// stuck never answers Configure, whatever its context says.
type stuck struct{ *sdktest.NoopCompute }

func (stuck) Configure(context.Context, sdk.ConfigureRequest) error { select {} }

// deaf never answers Probe.
type deaf struct{ *sdktest.NoopCompute }

func (deaf) Probe(context.Context, func(sdk.Health) error) error { select {} }

// panics does so in one call.
type panics struct{ *sdktest.NoopCompute }

func (panics) Create(context.Context, sdk.InstanceSpec) (sdk.Instance, error) {
	panic("no reason")
}

// picky refuses its configuration until the note is right.
type picky struct{ *sdktest.NoopCompute }

func (d picky) Describe(ctx context.Context) (sdk.Description, error) {
	desc, err := d.NoopCompute.Describe(ctx)
	desc.Target = statefulTarget
	return desc, err
}

func (picky) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	var config struct{ Note string }
	if err := sdk.Decode(statefulTarget, req.Config, &config); err != nil {
		return err
	}
	if config.Note != "right" {
		return sdk.InvalidConfig("note", "%q is not right", config.Note)
	}
	return nil
}

// install copies the test binary as the named drivers into a fresh plugin directory.
func install(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		installAs(t, dir, name, "")
	}
	return dir
}

// installAs replaces one driver; another tail makes another digest of the same program.
func installAs(t *testing.T, dir, name, tail string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, ".new")
	if err := os.WriteFile(fresh, slices.Concat(data, []byte(tail)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// configurations lists what a good driver was told, as "PID NOTE".
func configurations(t *testing.T, stateDir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(stateDir, "targets", "compute_good_local", "state", "configured"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func note(text string) json.RawMessage {
	data, err := json.Marshal(map[string]string{"note": text})
	if err != nil {
		panic(err)
	}
	return data
}

// eventually polls until ok, and fails the test with what it waited for.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}
