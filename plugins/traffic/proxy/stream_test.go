package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/instarhq/instar/sdk"
)

// echoSocket is a backend that echoes WebSocket messages and answers other requests with its name.
func echoSocket(t testing.TB, name string) string {
	return backend(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, name)
			return
		}
		c, err := websocket.Accept(w, req, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, message, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if c.Write(context.Background(), kind, append([]byte(name+" "), message...)) != nil {
				return
			}
		}
	})
}

// socket opens a WebSocket through the proxy.
func (r *rig) socket() *websocket.Conn {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, r.url("/"), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// say sends a message over a WebSocket and wants the echo of a backend.
func say(t testing.TB, c *websocket.Conn, name, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatalf("writing: %v", err)
	}
	_, got, err := c.Read(ctx)
	if err != nil || string(got) != name+" "+message {
		t.Fatalf("the echo is %.50q, %v", got, err)
	}
}

func TestWebSocket(t *testing.T) {
	r := newRig(t)
	blue, green := echoSocket(t, "blue"), echoSocket(t, "green")
	r.apply(pool(1, blue))
	c := r.socket()
	say(t, c, "blue", "hello")
	say(t, c, "blue", strings.Repeat("long ", 6000))
	if e := r.endpoint(); e.InFlight != 1 {
		t.Errorf("an open WebSocket counts as %d in flight", e.InFlight)
	}
	warm := pool(1, blue)
	warm.Weight = 0
	r.apply(warm, pool(2, green))
	say(t, c, "blue", "the pool is warm, and so am I")
	if e := r.endpoint(); e.InFlight != 1 || e.State != sdk.EndpointUp {
		t.Errorf("warm: %+v", e)
	}
	r.apply(pool(2, green))
	say(t, c, "blue", "the pool is gone, and I go on")
	if o := r.observe(); len(o.Draining) != 1 || o.Draining[0].InFlight != 1 {
		t.Errorf("draining: %+v", o.Draining)
	}
	say(t, r.socket(), "green", "new ones go to the new pool")
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing: %v", err)
	}
	eventually(t, "nothing drains any more", func() bool { return len(r.observe().Draining) == 0 })
}

func TestDrainDeadlineEndsWhatRemains(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.route.Drain = 200 * time.Millisecond
		hung := make(chan struct{}, 1)
		blue := backend(t, func(_ http.ResponseWriter, req *http.Request) {
			hung <- struct{}{}
			<-req.Context().Done()
		})
		socket := echoSocket(t, "blue")
		r.apply(pool(1, socket))
		ws := r.socket()
		r.apply(pool(1, socket, blue), pool(2, socket))
		r.apply(pool(1, blue)) // the WebSocket's endpoint has left
		ended := make(chan error, 1)
		go func() {
			resp, err := c.Get(r.url("/"))
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode >= 500 {
					err = fmt.Errorf("%s", resp.Status)
				}
			}
			ended <- err
		}()
		<-hung
		r.apply(pool(2, socket))
		began := time.Now()
		if err := <-ended; err == nil || time.Since(began) > patience/2 {
			t.Errorf("after the deadline the request ended with %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("after the deadline the WebSocket reads %v", err)
		}
		eventually(t, "nothing drains any more", func() bool { return len(r.observe().Draining) == 0 })
	})
}

func TestRefusedUpgrade(t *testing.T) {
	r := newRig(t)
	r.serve(func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprintf(w, "plain %s", req.Header.Get("Upgrade"))
	})
	c, in := r.dial()
	for range 2 { // the connection goes on
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if got := text(t, resp, err); got != "plain foo" || resp.StatusCode != http.StatusOK {
			t.Errorf("%s %q", resp.Status, got)
		}
	}
}

func TestUpgradeKeepsEarlyBytes(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
		readHead(t, in)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nearly")
		_, _ = io.Copy(conn, in)
	})))
	c, in := r.dial()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nahead")
	readHead(t, in)
	got := make([]byte, len("earlyahead"))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "earlyahead" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
	eventually(t, "nothing is in flight", func() bool { return r.endpoint().InFlight == 0 })
}

func TestTCP(t *testing.T) {
	r := newRig(t)
	r.route.Protocol = sdk.ProtocolTCP
	// A server that needs the client's end of input before it answers: half-closed connections work.
	counting := func(name string) string {
		return rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
			n, _ := io.Copy(io.Discard, in)
			_, _ = fmt.Fprintf(conn, "%s took %d", name, n)
		})
	}
	blue, green := counting("blue"), counting("green")
	r.apply(pool(1, freeAddress(t), blue))
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	send := func(c net.Conn, in *bufio.Reader, want string) {
		t.Helper()
		if _, err := io.Copy(c, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); string(got) != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	for range 3 {
		c, in := r.dial()
		send(c, in, fmt.Sprintf("blue took %d", len(data)))
	}
	old, oldIn := r.dial()
	eventually(t, "the connection is in flight", func() bool { return r.observe().Pools[0].Endpoints[1].InFlight == 1 })
	r.apply(pool(2, green))
	c, in := r.dial()
	send(c, in, fmt.Sprintf("green took %d", len(data)))
	if o := r.observe(); len(o.Draining) != 1 || o.Draining[0].InFlight != 1 {
		t.Errorf("draining %+v", o.Draining)
	}
	send(old, oldIn, fmt.Sprintf("blue took %d", len(data)))
	eventually(t, "nothing drains any more", func() bool { return len(r.observe().Draining) == 0 })
}

func TestTCPHold(t *testing.T) {
	r := newRig(t)
	r.route.Protocol = sdk.ProtocolTCP
	r.apply(pool(1, rawBackend(t, func(conn net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(conn, "blue") })))
	if err := r.driver.Hold(t.Context(), "web", sdk.HoldLimits{}); err != nil {
		t.Fatal(err)
	}
	_, in := r.dial()
	eventually(t, "the connection is held", func() bool { return r.observe().Held == 1 })
	r.apply(pool(2, rawBackend(t, func(conn net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(conn, "green") })))
	if err := r.driver.Release(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); string(got) != "green" || err != nil {
		t.Errorf("a held connection got %q, %v", got, err)
	}
}
