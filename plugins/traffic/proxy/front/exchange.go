package front

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/plugins/traffic/proxy/upstream"
)

// silence is how long an endpoint may be silent before anything is done about it, such as looking whether
// the client still waits.
const silence = time.Second

// maxRepeats bounds how often one request is sent anew because an idle connection turned out to be closed.
const maxRepeats = 3

// exchange is one request on its way to an endpoint and back. It is made once for a connection.
type exchange struct {
	flight route.Flight
	up     *upstream.Conn
	began  time.Time     // first byte of the request
	first  time.Time     // first byte of the answer
	headBy time.Time     // when the answer's head has to be there; zero: it is
	wait   time.Duration // for the head, once the request was sent
	// sending says that the request's body is still on its way.
	sending atomic.Bool
	// patience is how long the request waits for an endpoint after all have refused, and until is when that ends;
	// zero: some endpoint was not tried yet.
	patience time.Duration
	until    time.Time
	// silent is called when the endpoint has been silent for a while; may be nil.
	silent func()
	// closeClient ends the client's side; may be nil.
	closeClient func()

	mu      sync.Mutex
	open    *upstream.Conn // what abort closes
	aborted bool
}

func (x *exchange) init(patience time.Duration, closeClient, silent func()) {
	x.patience, x.closeClient, x.silent = patience, closeClient, silent
	x.flight.Abort = x.abort
}

// begin prepares x for the next request.
func (x *exchange) begin(now time.Time) {
	x.began, x.first, x.headBy, x.until = now, time.Time{}, time.Time{}, time.Time{}
}

// abort ends both sides from outside; see route.Flight.
func (x *exchange) abort() {
	x.closeUpstream()
	if x.closeClient != nil {
		x.closeClient()
	}
}

// closeUpstream ends the endpoint's side from outside.
func (x *exchange) closeUpstream() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.aborted = true
	if x.open != nil {
		_ = x.open.Close()
	}
}

// attach makes up the connection of the exchange; false if it was aborted before.
func (x *exchange) attach(up *upstream.Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.aborted {
		return false
	}
	x.up, x.open = up, up
	up.Reader.Source = x
	return true
}

// detach gives the connection back: kept for another request, or closed.
func (x *exchange) detach(keep bool, now time.Time) {
	up := x.up
	x.mu.Lock()
	keep = keep && !x.aborted
	x.open, x.aborted = nil, false
	x.mu.Unlock()
	x.up = nil
	if up == nil {
		return
	}
	if keep {
		up.Reader.Source = up.TCPConn
		x.flight.Endpoint.Conns.Put(up, now)
	} else {
		_ = up.Close()
	}
}

var errAborted = errors.New("aborted")

// lastDial is for how long a dial may go on that began before the patience was over.
const lastDial = 100 * time.Millisecond

// reach claims an endpoint of r that takes a connection. If none does, it waits for one, for as long as the patience
// lasts. once says that the request cannot be sent twice.
func (x *exchange) reach(ctx context.Context, r *route.Route, ask route.Ask, once bool) error {
	err := x.connect(ctx, r, ask, once)
	if x.patience <= 0 || !errors.Is(err, route.ErrUnreachable) {
		return err
	}
	if x.until.IsZero() {
		x.until = time.Now().Add(x.patience)
	}
	ctx, cancel := context.WithDeadline(ctx, x.until.Add(lastDial))
	defer cancel()
	for errors.Is(err, route.ErrUnreachable) {
		if err = r.Await(&x.flight, ask, x.until); err != nil {
			break
		}
		ask.Now = time.Now()
		err = x.connect(ctx, r, ask, once)
	}
	return err
}

// connect claims an endpoint of r that takes a connection, after each of them was tried once at most.
func (x *exchange) connect(ctx context.Context, r *route.Route, ask route.Ask, once bool) error {
	for {
		if err := r.Claim(&x.flight, ask); err != nil {
			return err
		}
		up := x.flight.Endpoint.Conns.Get(ask.Now, once)
		if up == nil {
			var err error
			if up, err = upstream.Dial(ctx, x.flight.Endpoint.Address); err != nil {
				ask.Now = time.Now()
				local := upstream.LocalFailure(err)
				x.flight.Unreached(ask.Now, !local)
				if local {
					return err
				}
				continue
			}
			x.flight.Reached()
		}
		if !x.attach(up) {
			_ = up.Close()
			x.finish(route.Outcome{Aborted: true, Now: time.Now()}, false)
			return errAborted
		}
		up.Begin()
		return nil
	}
}

// await says that the request was sent, and until when the head of the answer has to come.
func (x *exchange) await(now time.Time, timeout time.Duration) {
	x.headBy, x.wait = now.Add(timeout), timeout
	x.up.ReadBy(now, min(silence, timeout))
}

// Read reads from the endpoint, for x.up.Reader.
func (x *exchange) Read(p []byte) (int, error) {
	for {
		n, err := x.up.Read(p)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		switch now := time.Now(); {
		case x.sending.Load(): // time runs from the end of the request
			x.headBy = later(x.headBy, now.Add(x.wait))
			x.up.ReadUntil(now.Add(silence))
			continue
		case x.headBy.IsZero():
			x.up.ReadAlways()
		case !now.Before(x.headBy):
			return 0, err
		default:
			x.up.ReadUntil(x.headBy)
		}
		if x.silent != nil {
			x.silent()
		}
	}
}

// later moves a time that is set.
func later(t, to time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return to
}

// readHead reads one head of the answer, which may be an interim one, into x.up.Response.
func (x *exchange) readHead(headRequest bool) error {
	in := &x.up.Reader
	seen := 0
	for {
		if in.Buffered() > 0 {
			if end := http1.HeadEnd(in.Bytes(), seen); end > 0 {
				head := in.Bytes()[:end]
				in.Discard(end)
				return x.up.Response.Parse(head, headRequest)
			}
			if http1.BareLF(in.Bytes(), seen) {
				return errBadAnswer
			}
			seen = in.Buffered()
		}
		if err := in.Fill(maxHead); err != nil {
			if seen > 0 && errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if x.first.IsZero() {
			x.first = time.Now()
		}
	}
}

// body prepares the reading of the body that follows the head.
func (x *exchange) body() *http1.Body {
	x.headBy = time.Time{}
	res := &x.up.Response
	x.up.Body.Reset(&x.up.Reader, res.Length, res.Chunked)
	return &x.up.Body
}

// repeatable says, after the endpoint's side failed, whether the request certainly never reached it.
func (x *exchange) repeatable(err error) bool {
	return x.first.IsZero() && !x.wasAborted() && x.up.Undelivered(err)
}

func (x *exchange) wasAborted() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.aborted
}

// again takes the request back from an endpoint that it never reached.
func (x *exchange) again() {
	now := time.Now()
	x.detach(false, now)
	x.flight.Unreached(now, false)
}

// finish ends the exchange with one endpoint.
func (x *exchange) finish(o route.Outcome, keep bool) {
	if !x.first.IsZero() {
		o.Latency = max(x.first.Sub(x.began), time.Microsecond)
	}
	x.detach(keep, o.Now)
	x.flight.Done(o)
}

var errBadAnswer = errors.New("malformed answer")
