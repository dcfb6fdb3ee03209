package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/serve"
	"github.com/instarhq/instar/sdk/verify"
)

// The test binary is also the drivers under test: which one, its file name says.
func TestMain(m *testing.M) {
	program := map[string]func(){
		"warehouse":             warehouse,
		"instar-compute-remote": func() { serve.Run(&remote{}) },
		"instar-traffic-file":   func() { serve.Run(&fileTraffic{}) },
		"instar-metrics-noop":   func() { serve.Run(&sdktest.NoopMetrics{}) },
		"instar-compute-broken": func() {
			d := sdktest.NewNoopCompute(nil)
			d.Name = "other"
			serve.Run(d)
		},
		"instar-compute-none": func() {
			fmt.Fprintln(os.Stderr, "cannot start today")
			os.Exit(1)
		},
	}[filepath.Base(os.Args[0])]
	if program != nil {
		program()
		os.Exit(0) // never into the tests, which would launch further ones
	}
	// A process with the race detector waits a second at its end; the drivers of these tests need not.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// fileTraffic is a traffic driver whose routes are in a file, as those of a real one would be.
type fileTraffic struct {
	sdktest.NoopTraffic
	path string
}

func (d *fileTraffic) Describe(ctx context.Context) (sdk.Description, error) {
	desc, err := d.NoopTraffic.Describe(ctx)
	desc.Name = "file"
	return desc, err
}

func (d *fileTraffic) Configure(ctx context.Context, req sdk.ConfigureRequest) error {
	if d.Routes == nil {
		d.Routes = &sdktest.NoopRoutes{}
	}
	d.path = filepath.Join(req.StateDir, "calls")
	data, err := os.ReadFile(d.path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for line := range strings.Lines(string(data)) {
		var c logged
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return err
		}
		switch {
		case c.Cluster != 0:
			err = d.NoopTraffic.Configure(ctx, sdk.ConfigureRequest{Generation: c.Cluster})
		case c.Route != nil:
			err = d.NoopTraffic.Apply(ctx, *c.Route)
		default:
			err = d.NoopTraffic.Remove(ctx, c.Remove, c.Generation, 0)
		}
		if err != nil && sdk.CodeOf(err) != sdk.CodeConflict { // every call is in the file again after a second Configure
			return err
		}
	}
	if err := d.NoopTraffic.Configure(ctx, req); err != nil {
		return err
	}
	return d.log(logged{Cluster: req.Generation})
}

// logged is one call that succeeded.
type logged struct {
	Route      *sdk.Route `json:",omitempty"`
	Remove     string     `json:",omitempty"`
	Generation uint64     `json:",omitempty"`
	Cluster    uint64     `json:",omitempty"` // the cluster's generation, of Configure
}

func (d *fileTraffic) log(c logged) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func (d *fileTraffic) Apply(ctx context.Context, r sdk.Route) error {
	if err := d.NoopTraffic.Apply(ctx, r); err != nil {
		return err
	}
	return d.log(logged{Route: &r})
}

func (d *fileTraffic) Remove(ctx context.Context, id string, generation uint64, drain time.Duration) error {
	if err := d.NoopTraffic.Remove(ctx, id, generation, drain); err != nil {
		return err
	}
	return d.log(logged{Remove: id, Generation: generation})
}

func install(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASoundDriverPasses(t *testing.T) {
	t.Parallel()
	var progress int
	r, err := verify.Run(t.Context(), install(t, "instar-traffic-file"), verify.Options{
		Progress: func(sdktest.Result) { progress++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Driver != "file" || r.Kind != sdk.KindTraffic || progress != len(r.Results) {
		t.Errorf("report: %s", table(t, r))
	}
	for _, result := range r.Results {
		wantReason(t, result, "give -data-plane", `"hold"`, "is sensitive", "give -backend-stop and -backend-start", "give -backend-slow")
	}
}

func TestMetricsDriver(t *testing.T) {
	t.Parallel()
	r, err := verify.Run(t.Context(), install(t, "instar-metrics-noop"), verify.Options{Query: "1", Empty: "none", Invalid: "?"})
	if err != nil || !r.OK() {
		t.Errorf("report: %s, %v", table(t, r), err)
	}
	for _, result := range r.Results {
		wantReason(t, result, "is sensitive", "give -backend-stop and -backend-start", "give -want", "give -stale-query")
	}
}

func TestMetricsValue(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]sdktest.Status{1: sdktest.Passed, 2: sdktest.Failed} {
		r, err := verify.Run(t.Context(), install(t, "instar-metrics-noop"), verify.Options{
			Query: "1", Want: &value, Only: regexp.MustCompile("^query/value$"),
		})
		if err != nil || len(r.Results) != 2 || r.Results[1].Status != want {
			t.Errorf("with %v: %s, %v; want %s", value, table(t, r), err, want)
		}
	}
}

// wantReason wants a check to have been run, or not for one of some reasons.
func wantReason(t *testing.T, r sdktest.Result, reasons ...string) {
	t.Helper()
	if r.Status != sdktest.Skipped {
		return
	}
	if !slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(r.Detail, reason) }) {
		t.Errorf("%s was skipped: %s", r.Name, r.Detail)
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	r, err := verify.Run(t.Context(), install(t, "instar-compute-broken"), verify.Options{Artifact: "x"})
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]string{}
	for _, result := range r.Results {
		wantReason(t, result, "; give -", "capability", "is sensitive")
		if result.Status == sdktest.Failed {
			failed[result.Name] = result.Detail
		}
	}
	if !strings.Contains(failed["process/file-name"], "want instar-compute-other") {
		t.Errorf("the wrong name was not found: %v", failed)
	}
	// Its instances are in the memory of a process that is killed.
	if _, ok := failed["create/same-id-once-after-restart"]; !ok {
		t.Errorf("the lost instances were not found: %v", failed)
	}
	var suite struct {
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Failure *struct{} `xml:"failure"`
		} `xml:"testcase"`
	}
	var out bytes.Buffer
	if err := r.JUnit(&out); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(out.Bytes(), &suite); err != nil || suite.Failures != len(failed) || len(suite.Cases) != len(r.Results) {
		t.Errorf("JUnit: %v, %d failures in %d cases", err, suite.Failures, len(suite.Cases))
	}
	if text := table(t, r); !strings.Contains(text, "want instar-compute-other") || !strings.Contains(text, fmt.Sprintf("%d failed", len(failed))) {
		t.Errorf("table: %s", text)
	}
}

func TestADriverThatDoesNotStart(t *testing.T) {
	t.Parallel()
	r, err := verify.Run(t.Context(), install(t, "instar-compute-none"), verify.Options{})
	if err != nil || len(r.Results) != 1 || r.OK() || !strings.Contains(r.Results[0].Detail, "cannot start today") {
		t.Errorf("report: %s, %v", table(t, r), err)
	}
	if _, err := verify.Run(t.Context(), filepath.Join(t.TempDir(), "nothing"), verify.Options{}); err == nil {
		t.Error("a binary that does not exist is no error")
	}
}

func table(t *testing.T, r *verify.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
