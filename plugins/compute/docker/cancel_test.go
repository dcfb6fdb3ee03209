package docker_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
)

// gate stands between a driver and an engine. Once it is armed, the engine makes one more container, and neither the
// answer to that nor any later request gets through until the gate is opened.
type gate struct {
	endpoint string
	armed    atomic.Bool
	shut     chan struct{} // closed when the container was made
	opened   chan struct{}
	waiting  atomic.Int32 // requests for a container by its name, as tidying up begins with
	gaveUp   atomic.Int32 // such requests that nobody waits for any more
}

func newGate(t *testing.T, e *dockertest.Engine) *gate {
	t.Helper()
	dir, err := os.MkdirTemp("", "instar-gate-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // best effort
	socket := filepath.Join(dir, "docker.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{endpoint: "unix://" + socket, shut: make(chan struct{}), opened: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(e.Endpoint, "unix://"))
	}}
	proxy.Transport = transport
	proxy.ModifyResponse = func(resp *http.Response) error {
		if strings.HasSuffix(resp.Request.URL.Path, "/containers/create") && g.armed.CompareAndSwap(true, false) {
			close(g.shut)
			return g.wait(resp.Request)
		}
		return nil
	}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-g.shut:
			if g.wait(req) != nil {
				return
			}
		default:
		}
		proxy.ServeHTTP(w, req)
	})}
	go func() { _ = server.Serve(ln) }() // until Close
	t.Cleanup(func() {
		_ = server.Close() // it only lets go
		transport.CloseIdleConnections()
	})
	return g
}

// wait holds a request back until the gate is opened, or nobody waits for the answer any more.
func (g *gate) wait(req *http.Request) error {
	named := strings.Contains(req.URL.Path, "/containers/instar-")
	if named {
		g.waiting.Add(1)
		defer g.waiting.Add(-1)
	}
	select {
	case <-g.opened:
		return nil
	case <-req.Context().Done():
		if named {
			g.gaveUp.Add(1)
		}
		return req.Context().Err()
	}
}

// cutOff cancels a Create whose container the engine has made, and from then on answers nothing. It wants Create to return
// all the same, while tidying up still waits for the engine.
func (g *gate) cutOff(r *rig, spec sdk.InstanceSpec) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	g.armed.Store(true)
	ended := make(chan error, 1)
	go func() {
		_, err := r.driver.Create(ctx, spec)
		ended <- err
	}()
	select {
	case <-g.shut:
	case <-time.After(patience):
		r.Fatalf("the engine has made no container within %s", patience)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			r.Errorf("the cancelled Create ended with %v", err)
		}
	case <-time.After(patience):
		r.Fatalf("the cancelled Create has not ended within %s", patience)
	}
	if g.gaveUp.Load() > 0 {
		r.Errorf("the cancelled Create has waited for the engine")
	}
	eventually(r.T, "it tidies up", func() bool { return g.waiting.Load() > 0 || g.gaveUp.Load() > 0 })
}

// TestCancelledCreateReturnsAtOnce: who cancels a Create does not wait for an engine that is slow to tidy up; what comes next
// does, the driver's end included.
func TestCancelledCreateReturnsAtOnce(t *testing.T) {
	t.Parallel()
	needEngine(t)
	gated := func(t *testing.T) (*rig, *gate) {
		t.Helper()
		g := newGate(t, engine)
		r := newRig(t, engine, "")
		r.shut()
		r.req.Config = targetAt(g.endpoint, engine.Address, "")
		r.open()
		return r, g
	}
	t.Run("then created", func(t *testing.T) {
		t.Parallel()
		r, g := gated(t)
		spec := r.spec(waits)
		g.cutOff(r, spec)
		// Whoever comes meanwhile waits no longer than its own context lasts.
		hasty, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := r.driver.Create(hasty, spec); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create while the engine hangs: %v, want the end of its time", err)
		}
		close(g.opened)
		if i := r.create(spec); i.State != sdk.StateRunning || len(r.containers()) != 1 {
			t.Errorf("state is %s, containers are %v; want one that runs", i.State, r.containers())
		}
	})
	t.Run("then destroyed", func(t *testing.T) {
		t.Parallel()
		r, g := gated(t)
		spec := r.spec(waits)
		g.cutOff(r, spec)
		hasty, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.driver.Destroy(hasty, spec.ID, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Destroy while the engine hangs: %v, want the end of its time", err)
		}
		close(g.opened)
		if err := r.driver.Destroy(t.Context(), spec.ID, 0); err != nil {
			t.Errorf("Destroy: %v", err)
		}
		if names := r.containers(); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
	})
	t.Run("then closed", func(t *testing.T) {
		t.Parallel()
		r, g := gated(t)
		g.cutOff(r, r.spec(waits))
		closed := make(chan struct{})
		go func() { r.shut(); close(closed) }()
		close(g.opened)
		<-closed
		if names := r.containers(); len(names) > 0 {
			t.Errorf("the driver has ended and left %v", names)
		}
		r.open()
	})
}
