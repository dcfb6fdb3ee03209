package smoke_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/smoke"
	"github.com/instarhq/instar/sdk"
)

func check(address string, change func(*smoke.Check)) *smoke.Check {
	c := &smoke.Check{
		SmokeCheck: core.SmokeCheck{Route: "shop", Method: "GET", Path: "/", Timeout: core.Duration(5 * time.Second)},
		Route:      core.RouteSpec{Name: "shop", Listen: address, Protocol: core.ProtocolHTTP, Host: "shop.example"}, Revision: 7,
	}
	if change != nil {
		change(c)
	}
	return c
}

func handler(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get(sdk.PreviewHeader) != "7" || r.Host != "shop.example":
		w.WriteHeader(http.StatusMisdirectedRequest)
	case r.URL.Path == "/missing":
		http.Error(w, "no such\n\npage", http.StatusNotFound)
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/", http.StatusFound)
	case r.URL.Path == "/order" && r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.URL.Path == "/slow":
		<-r.Context().Done()
	default:
		_, _ = fmt.Fprint(w, "welcome")
	}
}

func TestRun(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(handler))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(handler))
	t.Cleanup(secure.Close)
	tests := []struct {
		name   string
		secure bool
		change func(*smoke.Check)
		want   string // in the error; empty: it passes
	}{
		{"passes", false, nil, ""},
		{"over TLS with another's certificate", true, func(c *smoke.Check) { c.Route.TLS = &core.TLS{} }, ""},
		{"contains", false, func(c *smoke.Check) { c.Contains = "welcome" }, ""},
		{"method", false, func(c *smoke.Check) { c.Method, c.Path = "POST", "/order" }, ""},
		{"accepted status", false, func(c *smoke.Check) { c.Path, c.Status = "/missing", []int{404} }, ""},
		{"redirects are answers", false, func(c *smoke.Check) { c.Path, c.Status = "/moved", []int{302} }, ""},
		{"status", false, func(c *smoke.Check) { c.Path = "/missing" }, "404 Not Found: no such page"},
		{"does not contain", false, func(c *smoke.Check) { c.Contains = "goodbye" }, `does not contain "goodbye": welcome`},
		{"timeout", false, func(c *smoke.Check) { c.Path, c.Timeout = "/slow", core.Duration(50*time.Millisecond) }, "no answer within 50ms"},
		{"TCP route", false, func(c *smoke.Check) { c.Route.Protocol = core.ProtocolTCP }, "speaks TCP"},
		{"nobody listens", false, func(c *smoke.Check) { c.Route.Listen = "127.0.0.1:1" }, "connection refused"},
		{"no address", false, func(c *smoke.Check) { c.Route.Listen = "nowhere" }, "no address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := plain
			if tt.secure {
				server = secure
			}
			err := smoke.RunImpatiently(t.Context(), check(server.Listener.Addr().String(), tt.change))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestFailureIsRetriedBeforeItIsFinal(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if err := smoke.RunImpatiently(t.Context(), check(server.Listener.Addr().String(), nil)); err != nil {
		t.Errorf("after two failures: %v", err)
	}
	asked.Store(-100)
	if err := smoke.RunImpatiently(t.Context(), check(server.Listener.Addr().String(), nil)); err == nil {
		t.Error("a check that only fails passes")
	}
	if got := asked.Load(); got != -97 {
		t.Errorf("asked %d times, want 3", got+100)
	}
}

func TestAddress(t *testing.T) {
	for listen, want := range map[string]string{
		":80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "[::1]:80", "10.0.0.1:80": "10.0.0.1:80", "shop:80": "shop:80",
	} {
		if got, err := smoke.Address(listen); err != nil || got != want {
			t.Errorf("listener %s is reached at %s (%v), want %s", listen, got, err, want)
		}
	}
}
