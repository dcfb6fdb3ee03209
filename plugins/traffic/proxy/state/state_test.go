package state_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/state"
	"github.com/instarhq/instar/sdk"
)

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if s, err := state.Load(dir); err != nil || len(s.Routes) != 0 || s.Configure != nil {
		t.Fatalf("an empty directory has %+v, %v", s, err)
	}
	s := state.New()
	s.Configure = &sdk.ConfigureRequest{Target: "local", Generation: 3, Config: []byte(`{"max_connections":5}`)}
	s.Routes["web"] = sdk.Route{
		ID: "web", Generation: 1<<63 + 1, Listen: ":80", Protocol: sdk.ProtocolHTTP, Host: "h", Path: "/p", Drain: 90 * time.Second,
		TLS: &sdk.TLS{CertificateFile: "c", KeyFile: "k"}, Config: []byte(`{"max_body":1}`),
		Pools: []sdk.Pool{{Revision: 2, Weight: 3, Preview: true, Endpoints: []sdk.Endpoint{{ID: "i", Address: "a:1"}}}},
	}
	s.Removed["old"] = 7
	if err := state.Save(dir, s); err != nil {
		t.Fatal(err)
	}
	got, err := state.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Indentation reaches into raw JSON; what it means is the same.
	route := got.Routes["web"]
	if string(route.Config) == "" || got.Configure == nil {
		t.Fatalf("read back %+v", got)
	}
	route.Config = s.Routes["web"].Config
	got.Configure.Config = s.Configure.Config
	got.Routes["web"] = route
	if !reflect.DeepEqual(got, s) {
		t.Errorf("read back %+v, want %+v", got, s)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFailedSaveLeavesTheOldState(t *testing.T) {
	dir := t.TempDir()
	s := state.New()
	s.Removed["a"] = 1
	if err := state.Save(dir, s); err != nil {
		t.Fatal(err)
	}
	// A directory in the way of the temporary file: the write fails for every user.
	if err := os.MkdirAll(filepath.Join(dir, "state.json.tmp", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := state.Save(dir, state.New()); err == nil {
		t.Error("saved without a place to write to")
	}
	if got, err := state.Load(dir); err != nil || got.Removed["a"] != 1 {
		t.Errorf("now there is %+v, %v", got, err)
	}
}
