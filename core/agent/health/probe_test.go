package health_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/health"
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// raw serves one fixed answer, and then closes or waits.
func raw(t *testing.T, answer string, wait bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = conn.Read(buf)
			_, _ = fmt.Fprint(conn, answer)
			if wait {
				_, _ = conn.Read(buf)
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func refused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestProbes(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" || r.URL.RawQuery != "deep=1" || r.Header.Get("User-Agent") == "" {
				code = http.StatusTeapot
			}
			w.WriteHeader(code)
		}
	}
	slow := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tests := []struct {
		name    string
		typ     core.CheckType
		address string
		status  []int
		want    string // in the error; empty: passes
	}{
		{"200", core.CheckHTTP, serve(t, status(200)), nil, ""},
		{"302 is an answer", core.CheckHTTP, serve(t, status(302)), nil, ""},
		{"503", core.CheckHTTP, serve(t, status(503)), nil, ": 503 Service Unavailable"},
		{"accepted 503", core.CheckHTTP, serve(t, status(503)), []int{503}, ""},
		{"200 not accepted", core.CheckHTTP, serve(t, status(200)), []int{204}, ": 200 OK"},
		{"timeout", core.CheckHTTP, serve(t, slow), nil, "no answer within 200ms"},
		{"refused", core.CheckHTTP, refused(t), nil, ": connection refused"},
		{"closed", core.CheckHTTP, raw(t, "", false), nil, "closed before an answer came"},
		{"interim answers", core.CheckHTTP, raw(t, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", true), nil, ""},
		{"endless headers", core.CheckHTTP, raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20), true), nil, "closed before"},
		{"no HTTP", core.CheckHTTP, raw(t, "SSH-2.0-OpenSSH\r\n\r\n", true), nil, "malformed HTTP"},
		{"tcp", core.CheckTCP, raw(t, "", true), nil, ""},
		{"tcp refused", core.CheckTCP, refused(t), nil, "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			probe, err := health.NewProber(core.HealthCheck{
				Type: tt.typ, Port: "http", Path: "/healthz?deep=1", Status: tt.status, Timeout: core.Duration(200 * time.Millisecond),
			}, map[string]string{"http": tt.address})
			if err != nil {
				t.Fatal(err)
			}
			first, second := probe(t.Context()), probe(t.Context())
			if tt.want == "" {
				if first != nil {
					t.Fatal(first)
				}
				return
			}
			if first == nil || !strings.Contains(first.Error(), tt.want) || !strings.Contains(first.Error(), tt.address) {
				t.Fatalf("error %v, want one about %s with %q", first, tt.address, tt.want)
			}
			if second == nil || second.Error() != first.Error() {
				t.Errorf("the same failure reads differently: %q, %q", first, second)
			}
		})
	}
}

func TestProberRefusesWhatItCannotCheck(t *testing.T) {
	addresses := map[string]string{"http": "127.0.0.1:1"}
	for _, c := range []core.HealthCheck{
		{Type: core.CheckTCP, Port: "admin"}, {Type: "smtp", Port: "http"}, {Type: core.CheckHTTP, Port: "http", Path: "/%zz"},
	} {
		if _, err := health.NewProber(c, addresses); err == nil {
			t.Errorf("a prober was made for %+v", c)
		}
	}
}
