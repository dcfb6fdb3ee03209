package proxy_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/proxy"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire"
)

var limits = sdk.HoldLimits{Requests: 10000, Timeout: patience}

func wantCode(t testing.TB, err error, code sdk.Code, what string) {
	t.Helper()
	if sdk.CodeOf(err) != code {
		t.Errorf("%s: %v (%s), want %s", what, err, sdk.CodeOf(err), code)
	}
}

// A restarted driver serves what was applied last before anybody configures it.
func TestServesAgainBeforeConfigure(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, backend(t, ok)))
	gone := r.route
	gone.ID, gone.Host, gone.Generation = "gone", "gone.example", 7
	if err := errors.Join(r.driver.Apply(t.Context(), gone), r.driver.Remove(t.Context(), "gone", 8, 0)); err != nil {
		t.Fatal(err)
	}
	shut(t, r.driver)
	t.Setenv(proxy.EnvStateDir, r.dir)
	t.Setenv(wire.Handshake.MagicCookieKey, wire.Handshake.MagicCookieValue)
	d := proxy.New(proxy.WithExit(func() {}), proxy.WithLogger(hclog.NewNullLogger()))
	t.Cleanup(func() { shut(t, d) })
	eventually(t, "it answers again", func() bool {
		resp, err := http.Get(r.url("/"))
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	older := configure(r.dir)
	older.Generation = 0
	wantCode(t, d.Configure(t.Context(), older), sdk.CodeConflict, "Configure of an older cluster generation")
	if err := d.Configure(t.Context(), configure(r.dir)); err != nil {
		t.Fatal(err)
	}
	// I7, after the restart and after a removal.
	wantCode(t, d.Apply(t.Context(), gone), sdk.CodeConflict, "Apply of a removed generation")
	stale := r.route
	stale.Generation = 0
	wantCode(t, d.Apply(t.Context(), stale), sdk.CodeInvalidConfig, "Apply of generation 0")
	if err := d.Apply(t.Context(), r.route); err != nil {
		t.Errorf("the same generation again: %v", err)
	}
	list, err := d.List(t.Context())
	if err != nil || strings.Join(list, " ") != "web" {
		t.Errorf("List: %v, %v", list, err)
	}
	wantCode(t, d.Configure(t.Context(), configure(t.TempDir())), sdk.CodeConflict, "Configure for another directory")
}

func TestBrokenStateFileIsNotIgnored(t *testing.T) {
	for name, content := range map[string]string{
		"cut": `{"format": 1, "rou`, "empty": "", "other format": `{"format": 9, "routes": {}, "removed": {}}`, "no routes": `{"format": 1, "routes": null}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "state.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		d := proxy.New(proxy.WithLogger(hclog.NewNullLogger()))
		err := d.Configure(t.Context(), configure(dir))
		if sdk.CodeOf(err) != sdk.CodeUnavailable || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Configure says %v", name, err)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != content {
			t.Errorf("%s: the file is now %q, %v", name, kept, err)
		}
	}
}

// When the state cannot be saved, Apply fails, and everything is as before: here, on disk, after a restart.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, revision(t, 1)))
	whole := r.route
	green := revision(t, 2)
	limitFileSize(t, 16)
	next := whole
	next.Generation, next.Pools = 2, []sdk.Pool{pool(2, green)}
	err := r.driver.Apply(t.Context(), next)
	wantCode(t, err, sdk.CodeUnavailable, "Apply without room")
	if err == nil || !strings.Contains(err.Error(), r.dir) {
		t.Errorf("the error does not name the place: %v", err)
	}
	other := next
	other.ID, other.Listen = "other", freeAddress(t)
	wantCode(t, r.driver.Apply(t.Context(), other), sdk.CodeUnavailable, "Apply of another route without room")
	wantCode(t, r.driver.Remove(t.Context(), "web", 3, 0), sdk.CodeUnavailable, "Remove without room")
	for range 3 {
		resp, err := client(t).Get(r.url("/"))
		if got := text(t, resp, err); got != "1:" {
			t.Errorf("answered %q", got)
		}
	}
	if o := r.observe(); o.Generation != 1 || o.Pools[0].Revision != 1 {
		t.Errorf("observed %+v", o)
	}
	if c, err := net.Dial("tcp", other.Listen); err == nil {
		_ = c.Close()
		t.Error("the route that could not be saved listens")
	}
	limitFileSize(t, 1<<40)
	shut(t, r.driver)
	r.driver = newDriver(t, r.dir)
	if o := r.observe(); o.Generation != 1 {
		t.Errorf("after a restart: %+v", o)
	}
	if err := r.driver.Apply(t.Context(), next); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// limitFileSize makes writes beyond n bytes of a file fail, as a full disk does; undone after the test.
func limitFileSize(t *testing.T, n uint64) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: min(n, old.Max), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old) })
}

func TestAddressTaken(t *testing.T) {
	r := newRig(t)
	ln, err := net.Listen("tcp", r.route.Listen)
	if err != nil {
		t.Fatal(err)
	}
	r.route.Generation = 1
	err = r.driver.Apply(t.Context(), r.route)
	wantCode(t, err, sdk.CodeUnavailable, "Apply to a taken address")
	if err == nil || !strings.Contains(err.Error(), r.route.Listen) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error does not name the address: %v", err)
	}
	_, err = r.driver.Observe(t.Context(), "web")
	wantCode(t, err, sdk.CodeNotFound, "Observe after the refused Apply")
	_ = ln.Close()
	if err := r.driver.Apply(t.Context(), r.route); err != nil {
		t.Errorf("when the address is free: %v", err)
	}
}

// A listener whose address is taken when the driver comes back does not keep the others from serving; the
// target is unhealthy and says why until it has the address.
func TestAddressTakenAtRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(pool(1, backend(t, ok)))
	other := r.route
	other.ID, other.Listen = "other", freeAddress(t)
	if err := r.driver.Apply(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	shut(t, r.driver)
	ln, err := net.Listen("tcp", r.route.Listen)
	if err != nil {
		t.Fatal(err)
	}
	r.driver = newDriver(t, r.dir)
	if resp, err := http.Get("http://" + other.Listen); err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the other listener: %v, %v", resp, err)
	}
	if r.observe().Listening {
		t.Error("observed as listening")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var seen []sdk.Health
	err = r.driver.Probe(ctx, func(h sdk.Health) error {
		if seen = append(seen, h); h.Healthy {
			return errors.New("enough")
		}
		_ = ln.Close()
		return nil
	})
	if err == nil || err.Error() != "enough" {
		t.Fatalf("Probe: %v; reports %+v", err, seen)
	}
	if len(seen) != 2 || !strings.Contains(seen[0].Reason, r.route.Listen) {
		t.Errorf("reports %+v", seen)
	}
	if !r.observe().Listening {
		t.Error("not observed as listening")
	}
}

func TestInvalidRoutes(t *testing.T) {
	r := newRig(t)
	r.route.Generation = 1
	if err := r.driver.Apply(t.Context(), r.route); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*sdk.Route)) sdk.Route {
		route := r.route
		route.ID = "other"
		f(&route)
		return route
	}
	for name, c := range map[string]struct {
		route     sdk.Route
		code      sdk.Code
		attribute string
	}{
		"no id":              {change(func(r *sdk.Route) { r.ID = "" }), sdk.CodeInvalidConfig, "id"},
		"no port":            {change(func(r *sdk.Route) { r.Listen = "127.0.0.1" }), sdk.CodeInvalidConfig, "listen"},
		"port 0":             {change(func(r *sdk.Route) { r.Listen = "127.0.0.1:0" }), sdk.CodeInvalidConfig, "listen"},
		"protocol":           {change(func(r *sdk.Route) { r.Protocol = "udp" }), sdk.CodeInvalidConfig, "protocol"},
		"host with port":     {change(func(r *sdk.Route) { r.Host = "a:80" }), sdk.CodeInvalidConfig, "host"},
		"wildcard":           {change(func(r *sdk.Route) { r.Host = "*.example" }), sdk.CodeInvalidConfig, "host"},
		"relative path":      {change(func(r *sdk.Route) { r.Path = "a" }), sdk.CodeInvalidConfig, "path"},
		"path with query":    {change(func(r *sdk.Route) { r.Path = "/a?b" }), sdk.CodeInvalidConfig, "path"},
		"tcp with host":      {change(func(r *sdk.Route) { r.Protocol, r.Host = sdk.ProtocolTCP, "a" }), sdk.CodeInvalidConfig, "protocol"},
		"same match":         {change(func(*sdk.Route) {}), sdk.CodeConflict, ""},
		"same match, spelt":  {change(func(r *sdk.Route) { r.Path = "/" }), sdk.CodeConflict, ""},
		"tcp on a shared":    {change(func(r *sdk.Route) { r.Protocol = sdk.ProtocolTCP }), sdk.CodeConflict, ""},
		"negative weight":    {change(func(r *sdk.Route) { r.Pools = []sdk.Pool{{Revision: 1, Weight: -1}} }), sdk.CodeInvalidConfig, "pools"},
		"two pools":          {change(func(r *sdk.Route) { r.Pools = []sdk.Pool{{Revision: 1}, {Revision: 1}} }), sdk.CodeInvalidConfig, "pools"},
		"bad endpoint":       {change(func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(1, "nowhere")} }), sdk.CodeInvalidConfig, "pools"},
		"unknown attribute":  {change(func(r *sdk.Route) { r.Config = []byte(`{"x":1}`) }), sdk.CodeInvalidConfig, "x"},
		"bad balance":        {change(func(r *sdk.Route) { r.Config = []byte(`{"balance":"best"}`) }), sdk.CodeInvalidConfig, "balance"},
		"bad duration":       {change(func(r *sdk.Route) { r.Config = []byte(`{"response_timeout":"soon"}`) }), sdk.CodeInvalidConfig, "response_timeout"},
		"negative max_body":  {change(func(r *sdk.Route) { r.Config = []byte(`{"max_body":-1}`) }), sdk.CodeInvalidConfig, "max_body"},
		"TLS on a plain one": {change(func(r *sdk.Route) { r.Host, r.TLS = "a", &sdk.TLS{CertificateFile: "a", KeyFile: "b"} }), sdk.CodeConflict, ""},
	} {
		err := r.driver.Apply(t.Context(), c.route)
		var typed *sdk.Error
		if !errors.As(err, &typed) || typed.Code != c.code || typed.Attribute != c.attribute {
			t.Errorf("%s: %v (%+v), want %s at %q", name, err, typed, c.code, c.attribute)
		}
	}
	for attribute, config := range map[string]string{
		"max_connections": `{"max_connections":0}`, "trusted_proxies": `{"trusted_proxies":["all"]}`, "idle_timeout": `{"idle_timeout":"0s"}`, "connect_patience": `{"connect_patience":"-1s"}`, "y": `{"y":1}`,
	} {
		req := configure(r.dir)
		req.Config = []byte(config)
		err := r.driver.Configure(t.Context(), req)
		var typed *sdk.Error
		if !errors.As(err, &typed) || typed.Code != sdk.CodeInvalidConfig || typed.Attribute != attribute {
			t.Errorf("Configure %s: %v", config, err)
		}
	}
}

func TestNotConfigured(t *testing.T) {
	d := proxy.New(proxy.WithLogger(hclog.NewNullLogger()))
	route := sdk.Route{ID: "web", Generation: 1, Listen: "127.0.0.1:1", Protocol: sdk.ProtocolHTTP}
	wantCode(t, d.Apply(t.Context(), route), sdk.CodeUnavailable, "Apply")
	wantCode(t, d.Hold(t.Context(), "web", limits), sdk.CodeUnavailable, "Hold")
	wantCode(t, d.Configure(t.Context(), configure("")), sdk.CodeInvalidConfig, "Configure without a directory")
}
