package sdktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficStreams = []trafficCheck{
	{"stream/parts", "an answer is passed on as it comes, and outlives a switch", func(c *trafficRun) {
		one, two := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, one.address))
		cl := c.client(r)
		c.apply(r)
		answer, err := cl.http.Get(cl.base + "/parts")
		if err != nil {
			c.Fatalf("GET: %v", err)
		}
		defer func() { _ = answer.Body.Close() }() // read to its end
		body := bufio.NewReader(answer.Body)
		first := make(chan string, 1)
		go func() {
			line, _ := body.ReadString('\n')
			first <- line
		}()
		select {
		case got := <-first:
			if got != "first part\n" {
				c.Fatalf("the first part is %q", got)
			}
		case <-time.After(c.patience()):
			c.Fatalf("the first part of an answer did not come before its second within %s", c.patience())
		}
		one.await(c, c.patience())
		c.apply(next(r, pool(2, 1, two.address)))
		close(one.release)
		if rest, err := io.ReadAll(body); err != nil || strings.TrimSpace(string(rest)) != "revision 1" {
			c.Errorf("after a switch the rest of the answer is %q, %v; want that of revision 1", rest, err)
		}
	}},
	{"stream/large-body", "bodies of several MiB arrive unchanged in both directions", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		sent := strings.Repeat("0123456789abcdef", 3<<16)
		for what, body := range map[string]io.Reader{"with a length": strings.NewReader(sent), "in chunks": io.MultiReader(strings.NewReader(sent))} {
			answer, err := cl.http.Post(cl.base+"/", "text/plain", body)
			if err != nil {
				c.Fatalf("POST %s: %v", what, err)
			}
			got, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close() // read to its end
			if err != nil || string(got) != "revision 1 "+sent {
				c.Errorf("POST of %d bytes %s: %d, %d bytes came back, %v; want the same behind the revision", len(sent), what, answer.StatusCode, len(got), err)
			}
		}
	}},
	{"stream/websocket", "I5: an upgraded connection goes on through a switch, is counted, and ends with its client", func(c *trafficRun) {
		one, two := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, one.address))
		r.Drain = c.patience()
		cl := c.client(r)
		c.apply(r)
		socket := c.dial(r)
		socket.send("GET /upgrade HTTP/1.1\r\nHost: conformance.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		answer, err := http.ReadResponse(socket.reader, nil)
		if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			c.Fatalf("upgrade: %+v, %v; want status 101", answer, err)
		}
		socket.echoes("before the switch", 1)
		if e := c.endpoint(r, 0); e.InFlight != 1 {
			c.Errorf("with an upgraded connection %d are in flight, want 1", e.InFlight)
		}
		r = next(r, pool(2, 1, two.address))
		c.apply(r)
		cl.want(c, 2)
		socket.goesOn("after the switch", 1)
		if n := c.draining(r.ID, one.address); n != 1 {
			c.Errorf("with an upgraded connection at the old endpoint %d are draining, want 1", n)
		}
		socket.close()
		eventually(c, c.patience(), "nothing is draining any more", func() bool { return c.draining(r.ID, one.address) == 0 })
	}},
	{"stream/tcp", "I5: a TCP connection goes on through a switch and is counted; new ones go to the new revision", func(c *trafficRun) {
		if !c.DataPlane || !c.has(sdk.CapTCP) {
			c.Skipf("not run: the fixture has no data plane, or the driver does not declare capability %q", sdk.CapTCP)
		}
		one, two := startEcho(c, 1), startEcho(c, 2)
		r := next(c.route(), pool(1, 1, one))
		r.Protocol, r.Drain = sdk.ProtocolTCP, c.patience()
		c.apply(r)
		first := c.dial(r)
		first.echoes("before the switch", 1)
		if e := c.endpoint(r, 0); e.InFlight != 1 {
			c.Errorf("with a connection %d are in flight, want 1", e.InFlight)
		}
		r = next(r, pool(2, 1, two))
		c.apply(r)
		second := c.dial(r)
		second.echoes("a new connection", 2)
		first.goesOn("after the switch", 1)
		if n := c.draining(r.ID, one); n != 1 {
			c.Errorf("with a connection to the old endpoint %d are draining, want 1", n)
		}
		first.close()
		eventually(c, c.patience(), "nothing is draining any more", func() bool { return c.draining(r.ID, one) == 0 })
		second.close()
	}},
	{"match/host-and-path", "routes on one listener are told apart by the most exact host and the longest path", func(c *trafficRun) {
		c.client(sdk.Route{}) // skips without a data plane
		other := next(c.route(), pool(1, 1, startBackend(c, 1).address))
		routes := []sdk.Route{other}
		for n, match := range [][2]string{{"", "/api"}, {"shop.example", ""}, {"shop.example", "/api/v2"}} {
			r := next(c.route(), pool(n+2, 1, startBackend(c, n+2).address))
			r.Listen, r.Host, r.Path = other.Listen, match[0], match[1]
			routes = append(routes, r)
		}
		for _, r := range routes {
			c.apply(r)
		}
		for _, want := range []struct {
			host, path string
			revision   int
		}{
			{"other.example", "/", 1},
			{"other.example", "/api", 2},
			{"other.example", "/api/x", 2},
			{"other.example", "/apian", 1},
			{"shop.example", "/", 3},
			{"SHOP.example", "/api", 3},
			{"shop.example", "/api/v2/x", 4},
			{"shop.example", "/api/v20", 3},
		} {
			conn := c.dial(other)
			conn.send("GET " + want.path + " HTTP/1.1\r\nHost: " + want.host + "\r\nConnection: close\r\n\r\n")
			answer, err := http.ReadResponse(conn.reader, nil)
			if err != nil {
				c.Fatalf("GET %s%s: %v", want.host, want.path, err)
			}
			body, err := io.ReadAll(answer.Body)
			if got := strings.TrimSpace(string(body)); err != nil || got != fmt.Sprintf("revision %d", want.revision) {
				c.Errorf("GET %s%s: %d %q, %v; want revision %d", want.host, want.path, answer.StatusCode, got, err, want.revision)
			}
			conn.close()
		}
	}},
}

// connection is a client's connection to a route.
type connection struct {
	c      *trafficRun
	conn   net.Conn
	reader *bufio.Reader
}

func (c *trafficRun) dial(r sdk.Route) *connection {
	c.Helper()
	conn, err := (&net.Dialer{Timeout: c.patience()}).DialContext(c.Context(), "tcp", r.Listen)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(2 * c.patience()))
	}
	if err != nil {
		c.Fatalf("connecting to the route: %v", err)
	}
	c.atEnd(func() { _ = conn.Close() }) // it may be closed already
	return &connection{c, conn, bufio.NewReader(conn)}
}

func (s *connection) send(text string) {
	s.c.Helper()
	if _, err := io.WriteString(s.conn, text); err != nil {
		s.c.Fatalf("writing to the route: %v", err)
	}
}

// echoes wants a line to come back from a revision.
func (s *connection) echoes(line string, revision int) {
	s.c.Helper()
	s.send(line + "\n")
	got, err := s.reader.ReadString('\n')
	if want := fmt.Sprintf("revision %d: %s\n", revision, line); err != nil || got != want {
		s.c.Fatalf("the connection gave %q, %v; want %q", got, err, want)
	}
}

// goesOn wants lines to come back for a while: a connection that is cut may be cut a moment later.
func (s *connection) goesOn(line string, revision int) {
	s.c.Helper()
	throughout(s.c, s.c.soon()/10, "the connection goes on", func() bool {
		s.echoes(line, revision)
		return true
	})
}

func (s *connection) close() { _ = s.conn.Close() } // whatever it was up to
