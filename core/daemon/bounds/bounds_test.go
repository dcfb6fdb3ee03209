package bounds_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core/daemon/bounds"
)

// pair is the two ends of a connection that knows when it is closed.
type pair struct {
	net.Conn
	closed bool
}

func (p *pair) Close() error { p.closed = true; return p.Conn.Close() }

func connect() *pair {
	here, _ := net.Pipe()
	return &pair{Conn: here}
}

func TestOldestIdleConnectionGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crowd := bounds.NewCrowd(3)
		conns := make([]*pair, 6)
		for i := range conns {
			conns[i] = connect()
		}
		for _, c := range conns[:3] {
			crowd.ConnState(c, http.StateNew)
			crowd.ConnState(c, http.StateActive)
		}
		crowd.ConnState(conns[1], http.StateIdle)
		crowd.ConnState(conns[0], http.StateIdle)
		<-time.After(time.Second)
		check := func(step string, want ...int) {
			t.Helper()
			var got []int
			for i, c := range conns {
				if c.closed {
					got = append(got, i)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s: %v are closed, want %v", step, got, want)
			}
		}
		crowd.ConnState(conns[3], http.StateNew)
		check("the one idle for longest", 1)
		crowd.ConnState(conns[1], http.StateClosed) // the server has seen it, too
		crowd.ConnState(conns[3], http.StateActive)
		crowd.ConnState(conns[4], http.StateNew)
		check("the other idle one", 0, 1)
		crowd.ConnState(conns[5], http.StateNew)
		check("nobody has waited: the newcomer", 0, 1, 5)
		<-time.After(2 * time.Second)
		crowd.ConnState(conns[5], http.StateNew)
		check("the one that has said nothing yet", 0, 1, 4, 5)
		if crowd.Len() != 3 {
			t.Errorf("%d connections", crowd.Len())
		}
	})
}

// serve starts a server with everything that this package has.
func serve(t *testing.T, limit int, handler http.HandlerFunc) (address string, crowd *bounds.Crowd) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	crowd = bounds.NewCrowd(limit)
	server := &http.Server{Handler: bounds.Patience(handler, nil), ConnState: crowd.ConnState, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String(), crowd
}

// Many connections that say nothing, or half a request, do not keep others from theirs.
func TestIdleConnectionsGiveWay(t *testing.T) {
	address, crowd := serve(t, 64, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	for i := range 500 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		switch i % 3 {
		case 0: // nothing
		case 1:
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ") // it may be dropped already
		case 2:
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			_, _ = bufio.NewReader(conn).ReadByte()
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.Now().Add(30 * time.Second)
	for done := 0; done < 20; {
		resp, err := client.Get("http://" + address)
		if err == nil {
			_ = resp.Body.Close()
			done++
		} else if time.Now().After(deadline) { // a newcomer may be dropped as long as nobody has waited for a second
			t.Fatal(err)
		}
	}
	if crowd.Len() > 64 {
		t.Errorf("%d connections", crowd.Len())
	}
}

// In a bubble of fake time, over pipes: no deadline of a real socket is waited for.
func TestDeadlines(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		send    func(conn net.Conn)
		within  time.Duration
		answer  string // part of what comes back
	}{
		"a body that does not come": {
			func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) },
			func(conn net.Conn) {
				_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
			},
			31 * time.Second, "",
		},
		"a body that nobody reads and that does not come": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
			func(conn net.Conn) {
				_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
			},
			31 * time.Second, "",
		},
		"a body that comes byte by byte": {
			func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) },
			func(conn net.Conn) {
				_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
				for err == nil {
					<-time.After(20 * time.Second)
					_, err = conn.Write([]byte{'x'})
				}
			},
			6 * time.Minute, "",
		},
		"a stream without news": {
			func(w http.ResponseWriter, _ *http.Request) {
				for range 3 {
					<-time.After(time.Hour)
					_, _ = io.WriteString(w, "news\n")
					_ = http.NewResponseController(w).Flush()
				}
			},
			func(conn net.Conn) {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			},
			4 * time.Hour, "news\n\r\n5\r\nnews\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				server := &http.Server{Handler: bounds.Patience(tt.handler, nil)}
				go func() { _ = server.Serve(l) }()
				here, there := net.Pipe()
				l.conns <- there
				begin := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() { tt.send(here) })
				defer sending.Wait()
				got, _ := io.ReadAll(here) // ends when the server gives up
				if took := time.Since(begin); took > tt.within {
					t.Errorf("it took %s, want at most %s", took, tt.within)
				}
				if !strings.Contains(string(got), tt.answer) {
					t.Errorf("the answer is %q", got)
				}
				_ = here.Close()
				_ = server.Close()
			})
		})
	}
}

// An answer that nobody takes ends the request, also one that is streamed.
func TestAnswerIsTakenOrTheRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: bounds.Patience(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					ended <- err
					return
				}
				if err := http.NewResponseController(w).Flush(); err != nil {
					ended <- err
					return
				}
			}
		}), nil)}
		go func() { _ = server.Serve(l) }()
		here, there := net.Pipe()
		l.conns <- there
		if _, err := io.WriteString(here, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := <-ended; err == nil {
			t.Error("the request has ended without an error")
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		_ = here.Close()
		_ = server.Close()
	})
}

// pipes is a listener for net.Pipe.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.done); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func TestLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	w := bounds.Quiet(&out)
	for range 10000 {
		if n, err := w.Write([]byte("x\n")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
	}
	if lines := strings.Count(out.String(), "\n"); lines < 5 || lines > 50 {
		t.Errorf("%d lines are logged", lines)
	}
}
