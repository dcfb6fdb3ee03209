package front

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// passage is one attempt to exchange a request of HTTP/1.1 with an endpoint. A connection has one, for all
// of its requests.
type passage struct {
	*conn
	buf     *buffer // borrowed while the answer is passed on, but not while it is waited for
	options *route.Options

	pump      chan error // gives the result of sending the body; nil: the body went with the head
	pumpDone  atomic.Bool
	continued bool // the client was told to send the body
	started   bool // the answer's head went to the client
	settled   bool // the endpoint's part is over
	end       bool // the client's connection ends with this answer
	keep      bool // the client's connection can carry another request
}

// begin prepares for the next attempt.
func (p *passage) begin(options *route.Options) {
	p.options, p.pump = options, nil
	p.pumpDone.Store(false)
	p.continued, p.started, p.settled, p.end, p.keep = false, false, false, false, false
}

func (p *passage) borrow() { p.buf = buffers.Get().(*buffer) }

func (p *passage) giveBack() {
	if p.buf != nil {
		buffers.Put(p.buf)
		p.buf = nil
	}
}

// errClient is a failure on the client's side.
var errClient = errors.New("client failed")

// receive reads the answer and passes it on. An error means that the answer could not be passed on whole.
func (p *passage) receive() error {
	p.x.await(time.Now(), p.options.ResponseTimeout)
	for {
		if err := p.x.readHead(p.headRequest); err != nil {
			return err
		}
		res := &p.x.up.Response
		if res.Status >= 200 {
			break
		}
		if res.Status == 101 {
			return p.upgrade()
		}
		if err := p.interim(res); err != nil {
			return err
		}
	}
	return p.relay()
}

// interim passes on an interim answer, which HTTP/1.0 does not have, and 100 only to those who wait for it.
func (p *passage) interim(res *http1.Response) error {
	if p.req.Minor == 0 || res.Status == 100 && (!p.req.Continue || p.continued) {
		return nil
	}
	p.continued = p.continued || res.Status == 100
	p.write.push(p.nc, time.Now())
	if _, err := p.nc.Write(appendInterim(nil, res)); err != nil {
		return errClient
	}
	return nil
}

// relay passes the final answer on.
func (p *passage) relay() error {
	res, now := &p.x.up.Response, time.Now()
	framing := answerFraming{minor: p.req.Minor, headRequest: p.headRequest, end: p.req.Close || p.listener.ending()}
	if p.pump != nil && !p.pumpDone.Load() {
		// The endpoint may not want the rest of the body, and then the client's connection is of no use.
		framing.end = framing.end || res.Close || res.Status >= 400 || p.req.Continue && !p.continued
	}
	if p.x.flight.Preview {
		framing.preview = p.x.flight.Revision
	}
	p.borrow()
	defer p.giveBack()
	out := framing.appendResponse(p.buf[:0], res, now)
	p.started, p.end = true, framing.end
	if err := p.relayBody(out, framing.chunked, now); err != nil {
		if p.settled {
			return nil // it is only the client that did not get the last bytes
		}
		return err
	}
	p.finish()
	return nil
}

// relayBody sends the head in out and the body behind it: the first bytes with the head if they are there
// already, and then whatever arrives, at once.
func (p *passage) relayBody(out []byte, chunked bool, now time.Time) error {
	body := p.x.body()
	n, err := 0, error(nil)
	start := len(out) + http1.ChunkRoom
	if start < len(p.buf)/2 { // else a huge head goes out alone
		n, err = p.first(body, p.buf[start:len(p.buf)-http1.ChunkTail])
	}
	for {
		p.write.push(p.nc, now)
		out = p.frame(out, start, n, chunked, errors.Is(err, io.EOF), body)
		done := body.Done()
		if done && (p.pump == nil || p.pumpDone.Load()) {
			// Before the last bytes go out: who has them finds the request no longer in flight.
			p.settle(p.pump == nil || <-p.pump == nil)
		}
		if len(out) > 0 {
			if _, werr := p.nc.Write(out); werr != nil {
				return errClient
			}
		}
		if done {
			return nil
		}
		if err != nil {
			return err
		}
		n, err = p.next(body, n >= bulk)
		out, start, now = p.buf[:0], http1.ChunkRoom, time.Now()
	}
}

// first takes the beginning of the body that has arrived with the head, without waiting.
func (p *passage) first(body *http1.Body, room []byte) (n int, err error) {
	n, err = gather(body, room, false)
	if raw := body.Raw(); raw > 0 && err == nil {
		// An endpoint that writes its answer at once has filled more than the buffer for its head.
		more := p.x.up.TryRead(room[n:min(int64(len(room)), int64(n)+raw)])
		body.Advance(more)
		n += more
	}
	return n, err
}

// next waits for more of the body. Only while bytes flow is the large buffer held meanwhile: streams that
// are mostly silent cost little.
func (p *passage) next(body *http1.Body, flowing bool) (int, error) {
	if !body.Ready() && (!flowing || body.Raw() == 0) {
		p.giveBack()
		_ = p.x.up.Reader.Fill(maxHead) // an end or error will be found again
		p.borrow()
	}
	return gather(body, p.buf[http1.ChunkRoom:len(p.buf)-http1.ChunkTail], true)
}

// frame puts n bytes of body at p.buf[start:] behind the head in out.
func (p *passage) frame(out []byte, start, n int, chunked, last bool, body *http1.Body) []byte {
	if n > 0 {
		data := p.buf[start : start+n]
		if chunked {
			data = http1.Chunk(p.buf[start-http1.ChunkRoom:], n)
			start += n + http1.ChunkTail - len(data)
		}
		// The head moves up to the data; it is the shorter of the two, as a rule.
		at := start - len(out)
		copy(p.buf[at:start], out)
		out = p.buf[at : start+len(data)]
	}
	if chunked && last {
		out = http1.AppendLastChunk(out, body.Trailer)
	}
	return out
}

// settle ends the exchange with the endpoint, which has given its whole answer; sent says whether it took the
// whole request.
func (p *passage) settle(sent bool) {
	res := &p.x.up.Response
	p.end = p.unwatch() || p.end
	reuse := sent && !res.Close && !res.Suspect && p.x.up.Body.Done()
	p.x.finish(route.Outcome{Failed: res.Status >= 500, Now: time.Now()}, reuse)
	p.settled = true
}

// finish ends a passage whose answer was passed on whole.
func (p *passage) finish() {
	sent := true
	if !p.settled {
		if p.end && !p.pumpDone.Load() {
			p.interrupt()
		}
		sent = <-p.pump == nil
		p.settle(sent)
	}
	if p.pump == nil {
		p.in.Discard(int(p.req.Length))
	}
	p.keep = sent && !p.end
	if p.end && !sent {
		p.linger()
	}
}

// interrupt makes the sending of the body end.
func (p *passage) interrupt() {
	_ = p.nc.SetReadDeadline(time.Unix(1, 0))
	p.x.closeUpstream()
}

// fail ends a passage whose answer did not come or broke off, and says whether the client's connection can
// carry another request.
func (p *passage) fail(err error) bool {
	reply := failure(err)
	client := errors.Is(err, errClient)
	if p.pump != nil {
		interrupted := !p.pumpDone.Load() && len(p.pump) == 0
		if interrupted {
			p.interrupt()
		}
		switch perr := <-p.pump; {
		case perr == nil, errors.Is(perr, errEndpoint), interrupted:
		case errors.Is(perr, http1.ErrBody):
			reply, client = badBody, true
		case errors.Is(perr, errTooLarge):
			reply, client = tooLarge, true
		case errors.Is(perr, os.ErrDeadlineExceeded):
			reply, client = slowRequest, true
		default:
			reply, client = nil, true
		}
	} else if p.x.wasAborted() {
		reply, client = nil, true // the client went, or the drain deadline is over
	}
	if p.unwatch() {
		reply, client = nil, true
	}
	p.x.finish(route.Outcome{Failed: !client, Aborted: client, Now: time.Now()}, false)
	if p.started || reply == nil || errors.Is(err, errClient) {
		return false
	}
	return p.refuse(reply)
}
