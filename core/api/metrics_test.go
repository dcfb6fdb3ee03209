package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// seen is an api.Observer.
type seen struct {
	mu   sync.Mutex
	seen map[string]int // status by operation
}

func (s *seen) Request(operation string, status int, _ time.Duration, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[operation] = status
}

func (s *seen) status(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[operation]
}

// as is a role in the header of a test's request.
const as = "Test-Role"

func observedAPI(t *testing.T, waiting func() string) (url string, observer *seen) {
	t.Helper()
	st := state.New(coretest.NewStore())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := st.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("state: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	observer = &seen{seen: map[string]int{}}
	handler := api.New(api.Config{
		State: st, Store: coretest.NewStore(), Leader: func() string { return "n1" }, Node: "n1", Ready: waiting, Observer: observer,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "instar_up 1\n") }),
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if role := r.Header.Get(as); role != "" {
			r = r.WithContext(identity.WithCaller(r.Context(), identity.Caller{Principal: "token:x", Role: core.AccessRole(role)}))
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, observer
}

func ask(t *testing.T, url, role string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(as, role)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMetricsTakeTheSameAuthentication(t *testing.T) {
	url, observer := observedAPI(t, nil)
	if status, _ := ask(t, url+"/metrics", ""); status != http.StatusUnauthorized || observer.status("metrics") != http.StatusUnauthorized {
		t.Errorf("nobody gets %d; observed %d", status, observer.status("metrics"))
	}
	if status, body := ask(t, url+"/metrics", "viewer"); status != http.StatusOK || body != "instar_up 1\n" || observer.status("metrics") != http.StatusOK {
		t.Errorf("a viewer gets %d %q; observed %d", status, body, observer.status("metrics"))
	}
	if status, _ := ask(t, url+"/v1/debug", "operator"); status != http.StatusForbidden {
		t.Errorf("an operator gets the diagnostics: %d", status)
	}
	if status, _ := ask(t, url+"/no/such/path", "viewer"); status != http.StatusNotFound || observer.status("unknown") != http.StatusNotFound {
		t.Errorf("an unknown path: %d, observed %v", status, observer.seen)
	}
}

func TestProbes(t *testing.T) {
	waiting := ""
	url, _ := observedAPI(t, func() string { return waiting })
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body := ask(t, url+path, ""); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	waiting = "the state of the cluster (dial 10.0.0.7)"
	if status, body := ask(t, url+"/readyz", ""); status != http.StatusServiceUnavailable || body != "not ready\n" {
		t.Errorf("nobody: %d %q", status, body)
	}
	if status, body := ask(t, url+"/readyz", "viewer"); status != http.StatusServiceUnavailable || body != "not ready: it waits for "+waiting+"\n" {
		t.Errorf("a viewer: %d %q", status, body)
	}
	if status, _ := ask(t, url+"/livez", ""); status != http.StatusOK {
		t.Error("a node that is not ready is alive")
	}
}
