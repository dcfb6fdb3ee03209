package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// conn serves HTTP/1.1 to one client, one request after the other.
type conn struct {
	listener *Listener
	client   *client
	nc       net.Conn // client, or TLS over it
	peer     peer
	settings *Settings

	in       http1.Reader
	req      http1.Request
	reqBody  http1.Body
	taken    bool // some of the body was taken from the connection
	x        exchange
	watching chan struct{} // closed when the watcher has ended; nil: none
	left     chan struct{} // closed when the watcher sees the client go
	gone     bool          // the same, to be read after the watcher has ended
	readBy   time.Time     // the read deadline in force
	write    deadline
	served   int // requests so far; negative after an empty line

	passage     passage
	away        func() <-chan struct{}
	headRequest bool // kept apart: the request's bytes may be gone when its answer comes
}

func newConn(l *Listener, c *client, nc net.Conn) *conn {
	_, secure := nc.(*tls.Conn)
	h := &conn{listener: l, client: c, nc: nc, settings: l.server.settings.Load()}
	h.peer.secure = secure
	h.peer.setAddress(c.RemoteAddr().String(), h.settings)
	h.in = http1.NewReader(nc, make([]byte, headBuffer))
	// Not nc: TLS would try to say good-bye, and an abort must not wait.
	h.x.init(h.settings.ConnectPatience, func() { _ = c.Close() }, h.watch)
	h.passage.conn = h
	h.away = h.watchHeld
	return h
}

// serve is the life of the connection.
func (c *conn) serve() {
	for {
		head, err := c.readHead()
		if err != nil {
			c.refuseHead(err)
			break
		}
		if head == nil { // HTTP/2 without TLS, by prior knowledge
			c.client.idle.Store(false)
			c.listener.serveH2(&replay{Conn: c.nc, ahead: bytes.Clone(c.in.Bytes())})
			return
		}
		c.x.begin(time.Now())
		if err := c.req.Parse(head); err != nil {
			c.refuseHead(err)
			break
		}
		c.in.Discard(len(head))
		if !c.serveRequest() {
			break
		}
		c.served++
	}
	_ = c.nc.Close()
}

// preface is how HTTP/2 begins (RFC 9113 section 3.4).
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// readHead waits for the next request and returns its head, not yet consumed; nil for HTTP/2.
func (c *conn) readHead() ([]byte, error) {
	seen := 0
	if c.in.Buffered() == 0 {
		if err := c.awaitRequest(); err != nil {
			return nil, err
		}
	}
	var headBy time.Time
	for {
		buf := c.in.Bytes()
		// One empty line before a request is tolerated (RFC 9112 section 2.2).
		if seen == 0 && len(buf) >= 2 && buf[0] == '\r' && buf[1] == '\n' && c.served > 0 {
			c.in.Discard(2)
			c.served = -c.served // not a second one
			if c.in.Buffered() == 0 {
				if err := c.awaitRequest(); err != nil {
					return nil, err
				}
			}
			continue
		}
		if end := http1.HeadEnd(buf, seen); end > 0 {
			if c.served <= 0 && bytes.HasPrefix(buf, preface[:18]) && !c.peer.secure {
				return nil, nil
			}
			c.served = max(c.served, -c.served)
			return buf[:end], nil
		}
		if http1.BareLF(buf, seen) {
			return nil, &http1.Error{Status: 400, Reason: "a line does not end in CR LF"}
		}
		seen = len(buf)
		if headBy.IsZero() {
			headBy = time.Now().Add(c.settings.ReadHeaderTimeout)
			c.setReadBy(headBy)
		}
		if err := c.in.Fill(maxHead); err != nil {
			return nil, err
		}
	}
}

// awaitRequest waits, idle, for the first bytes of a request.
func (c *conn) awaitRequest() error {
	now := time.Now()
	timeout := c.settings.IdleTimeout
	if c.served == 0 {
		timeout = c.settings.ReadHeaderTimeout
	}
	// As with other deadlines, one that is in force and good within a second is kept.
	if until := now.Add(timeout); c.readBy.Before(until) || c.readBy.After(until.Add(time.Second)) {
		c.setReadBy(until.Add(time.Second))
	}
	c.in.Shrink(headBuffer)
	c.client.idle.Store(true)
	err := c.in.Fill(maxHead)
	c.client.idle.Store(false)
	if err != nil {
		return errQuiet
	}
	return nil
}

// errQuiet ends a connection without an answer: there was no request.
var errQuiet = errors.New("no request")

func (c *conn) setReadBy(t time.Time) {
	c.readBy = t
	_ = c.nc.SetReadDeadline(t)
}

// refuseHead answers a request whose head cannot be accepted; the connection ends.
func (c *conn) refuseHead(err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, errQuiet), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return
	case errors.As(err, &timeout) && timeout.Timeout():
		c.say(slowRequest, true)
	case errors.Is(err, http1.ErrBufferFull):
		c.say(malformed(http1.ErrTooLarge), true)
	default:
		var syntax *http1.Error
		if !errors.As(err, &syntax) {
			return // the connection broke
		}
		c.say(malformed(err), true)
	}
	c.linger()
}

// say sends an answer of the proxy's own.
func (c *conn) say(a *answer, end bool) bool {
	c.write.push(c.nc, time.Now())
	_, err := c.nc.Write(a.append(nil, c.headRequest, end))
	return err == nil
}

// linger ends the sending side and gives the client a moment to read what it was sent: closing with
// unread input would reset the connection and take the answer with it.
func (c *conn) linger() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	c.setReadBy(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.nc, 1<<20)
}

// refuse answers a request that goes to no endpoint, or whose endpoint failed before its answer began. It
// says whether the connection can carry another request.
func (c *conn) refuse(a *answer) bool {
	rest := c.req.Length
	if c.taken { // from the connection: what is left of the body is not known to be here
		rest = 0
		if !c.reqBody.Done() {
			rest = -1
		}
	}
	if rest >= 0 && rest <= int64(c.in.Buffered()) {
		c.in.Discard(int(rest))
		end := c.req.Close || c.listener.ending()
		return c.say(a, end) && !end
	}
	if c.say(a, true) {
		c.linger()
	}
	return false
}

// serveRequest passes one request on. It says whether the connection can carry another one.
func (c *conn) serveRequest() bool {
	c.reqBody.Reset(&c.in, c.req.Length, c.req.Chunked)
	c.taken, c.headRequest = false, string(c.req.Method) == "HEAD"
	r := c.listener.find(&c.req)
	if r == nil {
		return c.refuse(noRoute)
	}
	ask := route.Ask{Now: c.x.began, Away: c.away}
	if c.req.Preview != nil {
		revision, err := strconv.Atoi(string(c.req.Preview))
		if err != nil || revision < 1 {
			return c.refuse(noPreview)
		}
		ask.Preview = revision
	}
	defer c.x.flight.Reset()
	return c.pass(r, ask)
}

// pass finds an endpoint and exchanges the request with it, again if it certainly was not received.
func (c *conn) pass(r *route.Route, ask route.Ask) bool {
	options := r.Options()
	if options.MaxBody > 0 && c.req.Length > options.MaxBody {
		return c.refuse(tooLarge)
	}
	p := &c.passage
	whole := !c.req.Chunked && int64(c.in.Buffered()) >= c.req.Length
	for repeats := 0; ; repeats++ {
		err := c.x.reach(context.Background(), r, ask, !whole)
		if c.unwatch() { // it was held, and the client did not wait
			if err == nil {
				c.x.finish(route.Outcome{Aborted: true, Now: time.Now()}, false)
			}
			return false
		}
		if err != nil {
			if errors.Is(err, errAborted) {
				return false
			}
			// A route that was replaced since the look-up may have a successor.
			if next := c.listener.find(&c.req); errors.Is(err, route.ErrGone) && next != nil && next != r {
				return c.pass(next, ask)
			}
			return c.refuse(refusal(err))
		}
		p.begin(options)
		if whole {
			p.sendWhole()
		} else {
			p.sendStream()
		}
		if err = p.receive(); err == nil {
			return p.keep
		}
		if whole && repeats < maxRepeats && c.x.repeatable(err) && !c.unwatch() {
			c.x.again()
			ask.Now = time.Now()
			continue
		}
		return p.fail(err)
	}
}

// buffer is what a request borrows: for heads, and for the body on its way. A common 64 KiB fits with its head.
type buffer [http1.ChunkRoom + 68<<10 + http1.ChunkTail]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// replay gives what was read ahead once more.
type replay struct {
	net.Conn
	ahead []byte
}

// Read implements net.Conn.
func (r *replay) Read(p []byte) (int, error) {
	if len(r.ahead) > 0 {
		n := copy(p, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}
