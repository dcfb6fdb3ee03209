package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func TestRefusedDialsGoToOthers(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.apply(pool(1, freeAddress(t), backend(t, ok)))
		for range 20 {
			resp, err := c.Post(r.url("/"), "", io.MultiReader(strings.NewReader("cannot be replayed")))
			if got := text(t, resp, err); got != "ok" {
				t.Fatalf("%s %q", resp.Status, got)
			}
		}
		// A client may have its answer a moment before the request counts as ended.
		eventually(t, "nothing is in flight", func() bool { return r.observe().Pools[0].Endpoints[1].InFlight == 0 })
		e := r.observe().Pools[0].Endpoints
		if e[0].State != sdk.EndpointDown || e[0].Errors == 0 || e[0].Errors > 10 || e[1].State != sdk.EndpointUp || e[1].Errors != 0 || e[1].Requests != 20 {
			t.Errorf("observed %+v", e)
		}
	})
}

func TestEndpointComesUpAgain(t *testing.T) {
	r := newRig(t)
	address := freeAddress(t)
	r.apply(pool(1, address))
	c := client(t)
	resp, err := c.Get(r.url("/"))
	if _ = text(t, resp, err); resp.StatusCode != http.StatusServiceUnavailable || r.endpoint().State != sdk.EndpointDown {
		t.Fatalf("with nobody there: %s, %+v", resp.Status, r.endpoint())
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(ok)}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	resp, err = c.Get(r.url("/"))
	if _ = text(t, resp, err); resp.StatusCode != http.StatusOK || r.endpoint().State != sdk.EndpointUp {
		t.Errorf("with somebody there: %s, %+v", resp.Status, r.endpoint())
	}
}

func TestEndpointDiesInTheAnswer(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		for name, answer := range map[string]string{
			"length":      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
			"chunked":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
			"in a chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nonly this",
			"bad chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n",
			"in the head": "HTTP/1.1 200 OK\r\nContent-Le",
			"no answer":   "",
			"rubbish":     "SSH-2.0-OpenSSH_9.2\r\n\r\n",
			"two framing": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
			"101 unasked": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		} {
			var requests atomic.Int64
			r.apply(pool(1, rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
				if readHead(t, in) != "" {
					requests.Add(1)
					_, _ = io.WriteString(conn, answer)
				}
			})))
			resp, err := c.Get(r.url("/"))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK && err == nil {
				t.Errorf("%s: a cut answer looks whole", name)
			}
			if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadGateway {
				t.Errorf("%s: %s", name, resp.Status)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%s: the request was sent %d times", name, n)
			}
			eventually(t, name+": one error and nothing in flight", func() bool {
				e := r.endpoint()
				return e.Errors == 1 && e.InFlight == 0
			})
		}
	})
}

func TestNoAnswerInTime(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.route.Config = []byte(`{"response_timeout":"100ms"}`)
		stop := make(chan struct{})
		r.serve(func(http.ResponseWriter, *http.Request) { <-stop })
		defer close(stop)
		resp, err := c.Get(r.url("/"))
		if _ = text(t, resp, err); resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("answered %s", resp.Status)
		}
		if e := r.endpoint(); e.Errors != 1 || e.State != sdk.EndpointUp {
			t.Errorf("observed %+v", e)
		}
	})
}

func TestServerErrorsCount(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/bad" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		for _, path := range []string{"/", "/bad", "/"} {
			resp, err := c.Get(r.url(path))
			_ = text(t, resp, err)
		}
		if e := r.endpoint(); e.Requests != 3 || e.Errors != 1 || e.Latency.Count != 3 || e.Latency.Max <= 0 {
			t.Errorf("observed %+v", e)
		}
	})
}

// An endpoint that closes its idle connections loses no request, not even those that cannot be sent twice:
// a request that meets a closed connection was certainly not received, and goes over another one.
func TestClosedIdleConnectionsLoseNothing(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		var received atomic.Int64
		closed := make(chan struct{}, 1)
		r.apply(pool(1, rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if body, err := io.ReadAll(req.Body); err != nil || req.Method == http.MethodPost && string(body) != "12345" {
				t.Errorf("received %q, %v", body, err)
			}
			received.Add(1)
			// Nothing in the answer says that the connection will be closed.
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_ = conn.Close()
			closed <- struct{}{}
		})))
		sent := int64(0)
		for round := range 50 {
			for _, body := range []io.Reader{nil, strings.NewReader("12345"), io.MultiReader(strings.NewReader("12345"))} {
				method := http.MethodPost
				if body == nil {
					method = http.MethodGet
				}
				req, _ := http.NewRequest(method, r.url("/"), body)
				resp, err := c.Do(req)
				if got := text(t, resp, err); resp.StatusCode != http.StatusOK {
					t.Fatalf("round %d, %s with %T: %s %q", round, method, body, resp.Status, got)
				}
				sent++
				<-closed
				if round%10 == 9 {
					<-time.After(10 * time.Millisecond) // beyond what is taken on trust
				}
			}
		}
		if n := received.Load(); n != sent {
			t.Errorf("%d requests were sent and %d received", sent, n)
		}
		if e := r.endpoint(); e.Errors != 0 || e.Requests != uint64(sent) {
			t.Errorf("observed %+v", e)
		}
	})
}

func TestClientsThatGoAwayAreNobodysError(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		arrived := make(chan struct{}, 1)
		left := make(chan struct{}, 1)
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/answering" {
				_ = http.NewResponseController(w).Flush()
			}
			arrived <- struct{}{}
			<-req.Context().Done()
			left <- struct{}{}
		})
		for _, path := range []string{"/waiting", "/answering"} {
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url(path), nil)
			ended := make(chan error, 1)
			go func() {
				resp, err := c.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				ended <- err
			}()
			<-arrived
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the client's request ended with %v", path, err)
			}
			select {
			case <-left:
			case <-time.After(patience):
				t.Fatalf("%s: the endpoint never heard that the client went", path)
			}
		}
		eventually(t, "nothing is in flight, and no error", func() bool {
			e := r.endpoint()
			return e.InFlight == 0 && e.Errors == 0
		})
	})
}

func TestSlowClientsOfBigAnswers(t *testing.T) {
	r := newRig(t)
	const size = 4 << 20
	r.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write(make([]byte, size))
	})
	c, in := r.dial()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	// Others are served while this one does not read.
	other, err := client(t).Head(r.url("/"))
	if _ = text(t, other, err); other.StatusCode != http.StatusOK {
		t.Errorf("meanwhile: %s", other.Status)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// An answer that comes before the request was sent whole is passed on, and the client is not left hanging.
func TestEarlyAnswer(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
		readHead(t, in)
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull")
	})))
	c, in := r.dial()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nsome")
	resp, err := http.ReadResponse(in, nil)
	if got := text(t, resp, err); resp.StatusCode != http.StatusRequestEntityTooLarge || got != "full" || !resp.Close {
		t.Errorf("answered %s %q, close %v", resp.Status, got, resp.Close)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestHungUploadEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	broken := make(chan error, 1)
	r.serve(func(_ http.ResponseWriter, req *http.Request) {
		_, err := io.ReadAll(req.Body)
		broken <- err
	})
	c, _ := r.dial()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	eventually(t, "the request is in flight", func() bool { return r.endpoint().InFlight == 1 })
	_ = c.Close()
	select {
	case err := <-broken:
		if err == nil {
			t.Error("the endpoint took half a body for whole")
		}
	case <-time.After(patience):
		t.Fatal("the endpoint never heard that the client went")
	}
	eventually(t, "nothing is in flight, and no error", func() bool {
		e := r.endpoint()
		return e.InFlight == 0 && e.Errors == 0
	})
}
