package front

import (
	"errors"
	"io"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
)

// sendWhole sends a request whose body, if it has one, was received with the head. A failure to send is
// left to receive: an endpoint may answer before it closes.
func (p *passage) sendWhole() {
	p.borrow()
	defer p.giveBack()
	out := p.peer.appendRequest(p.buf[:0], &p.req)
	if p.req.Length > 0 {
		out = append(out, p.in.Bytes()[:p.req.Length]...)
	}
	_, _ = p.x.up.Write(out)
}

// sendStream sends the head, and the body as it arrives from a goroutine of its own, so that the answer
// can begin before the body has ended.
func (p *passage) sendStream() {
	p.borrow()
	_, _ = p.x.up.Write(p.peer.appendRequest(p.buf[:0], &p.req))
	p.giveBack()
	p.taken = true
	p.pump = make(chan error, 1)
	p.x.sending.Store(true)
	go func() {
		err := p.sendBody()
		p.x.sending.Store(false)
		p.pumpDone.Store(err == nil)
		p.pump <- err
		if err != nil && !errors.Is(err, errEndpoint) {
			p.x.closeUpstream() // ends the wait for an answer; there is no further request on this connection
		}
	}()
}

// errEndpoint is a failure to send to the endpoint.
var errEndpoint = errors.New("endpoint takes no more")

// errTooLarge is a body over the route's limit.
var errTooLarge = errors.New("body too large")

// bulk is what a read must have brought for the next one to go into a large buffer.
const bulk = headBuffer

// sendBody sends the request's body as it arrives. A large buffer is held only while bytes flow: a client
// that sends a little now and then costs a little.
func (p *passage) sendBody() error {
	up := p.x.up
	var stall deadline
	defer func() { _ = up.SetWriteDeadline(time.Time{}) }()
	var total int64
	for flowing := false; ; {
		now := time.Now()
		if left := p.readBy.Sub(now); left < stallTimeout/2 || left > 2*stallTimeout {
			p.setReadBy(now.Add(stallTimeout))
		}
		if !p.reqBody.Ready() && (!flowing || p.reqBody.Raw() == 0) {
			_ = p.in.Fill(maxHead) // an end or error will be found again
		}
		buf := buffers.Get().(*buffer)
		n, err := gather(&p.reqBody, buf[http1.ChunkRoom:len(buf)-http1.ChunkTail], true)
		flowing = n >= bulk
		if total += int64(n); p.options.MaxBody > 0 && total > p.options.MaxBody {
			buffers.Put(buf)
			return errTooLarge // before the last of it is sent: the endpoint must not take the request for whole
		}
		stall.push(up, now)
		werr := p.sendPart(buf, n, errors.Is(err, io.EOF))
		buffers.Put(buf)
		switch {
		case werr != nil:
			return errEndpoint
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case p.reqBody.Done():
			return nil
		}
	}
}

// sendPart sends n bytes of body in buf, in the framing of the request.
func (p *passage) sendPart(buf *buffer, n int, last bool) error {
	out := buf[http1.ChunkRoom : http1.ChunkRoom+n]
	if p.req.Chunked {
		if out = out[:0]; n > 0 {
			out = http1.Chunk(buf[:], n)
		}
		if last {
			out = http1.AppendLastChunk(out, p.reqBody.Trailer)
		}
	}
	if len(out) == 0 {
		return nil
	}
	_, err := p.x.up.Write(out)
	return err
}

// gather reads from a body what is there without waiting; with wait it waits for the first bytes.
func gather(body *http1.Body, buf []byte, wait bool) (n int, err error) {
	for n < len(buf) && err == nil && (wait && n == 0 || body.Ready()) {
		var m int
		m, err = body.Read(buf[n:])
		n += m
	}
	return n, err
}
