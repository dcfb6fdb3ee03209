package forward

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
)

// Bounds of one connection.
const (
	maxInFlight      = 4096
	maxInFlightBytes = 32 << 20
	pingEvery        = time.Second
	// silence is for how long a peer may say nothing at all, answers to pings included.
	silence = 5 * time.Second
)

// request is a question on its way.
type request struct {
	frame
	done chan result // gets one
}

type result struct {
	frame frame
	err   error
}

// link is a connection to a peer.
type link struct {
	to   Peer
	conn net.Conn
	wake chan struct{} // has an element when waiting is not empty

	mu      sync.Mutex
	closed  error
	next    uint64
	waiting []*request          // not written yet
	pending map[uint64]*request // written, or about to be
	bytes   int                 // of both
	used    time.Time           // when there was a request last
}

func newLink(to Peer, conn net.Conn) *link {
	return &link{to: to, conn: conn, wake: make(chan struct{}, 1), pending: make(map[uint64]*request), used: time.Now()}
}

func (l *link) call(ctx context.Context, kind byte, payload []byte) (frame, error) {
	r := &request{frame: frame{kind: kind, payload: payload}, done: make(chan result, 1)}
	if err := l.add(r); err != nil {
		return frame{}, err
	}
	select {
	case got := <-r.done:
		return got.frame, got.err
	case <-ctx.Done():
		if l.withdraw(r) {
			return frame{}, core.Errorf(core.CodeUnavailable, "the request did not get to node %q in time: %w", l.to.Node, ctx.Err())
		}
		return frame{}, l.unknown(ctx.Err())
	}
}

func (l *link) add(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.unsent(l.closed)
	}
	if n := len(l.waiting) + len(l.pending); n >= maxInFlight || l.bytes >= maxInFlightBytes {
		e := core.Errorf(core.CodeUnavailable, "%d requests wait for node %q, which is as many as may", n, l.to.Node)
		e.RetryAfter = 100 * time.Millisecond
		return e
	}
	l.next++
	r.id = l.next
	l.waiting = append(l.waiting, r)
	l.bytes += len(r.payload)
	l.used = time.Now()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// withdraw takes back a request; false if it may have been written.
func (l *link) withdraw(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, waiting := range l.waiting {
		if waiting == r {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
			l.bytes -= len(r.payload)
			return true
		}
	}
	if _, ok := l.pending[r.id]; ok { // its answer will be dropped
		delete(l.pending, r.id)
		l.bytes -= len(r.payload)
	}
	return false
}

func (l *link) unsent(cause error) error {
	return core.Errorf(core.CodeUnavailable, "the connection to node %q ended before the request was sent: %w", l.to.Node, cause)
}

func (l *link) unknown(cause error) error {
	return core.Errorf(core.CodeTimeout, "node %q has not answered, so the outcome is unknown: %w", l.to.Node, cause).
		WithHint("repeat it with the same request id")
}

// run writes and reads until the connection ends, for whatever reason.
func (l *link) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() }) // unblocks both
	var both sync.WaitGroup
	both.Go(func() { cancel(l.read()) })
	both.Go(func() { cancel(l.write(ctx)) })
	both.Wait()
	if stop() {
		_ = l.conn.Close()
	}
	err := context.Cause(ctx)
	l.end(err)
	return err
}

// end answers everything that is still under way.
func (l *link) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = cause
	for _, r := range l.waiting {
		r.done <- result{err: l.unsent(cause)}
	}
	for _, r := range l.pending {
		r.done <- result{err: l.unknown(cause)}
	}
	l.waiting, l.pending, l.bytes = nil, nil, 0
}

var errIdle = errors.New("not used for a while")

func (l *link) write(ctx context.Context) error {
	w := bufio.NewWriterSize(l.conn, bufferSize)
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-l.wake:
			err = l.writeWaiting(w)
		case <-ping.C:
			if l.idle() {
				return errIdle
			}
			err = errors.Join(l.conn.SetWriteDeadline(time.Now().Add(silence)), (&frame{kind: kindPing}).writeTo(w))
		case <-ctx.Done():
			return ctx.Err()
		}
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// writeWaiting writes until nothing waits any more, so that the caller flushes once.
func (l *link) writeWaiting(w *bufio.Writer) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	for {
		batch := l.take()
		if len(batch) == 0 {
			return nil
		}
		for _, f := range batch {
			if err := f.writeTo(w); err != nil {
				return err
			}
		}
	}
}

// take moves what waits to what is pending: from now on it may have been sent.
func (l *link) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.waiting
	l.waiting = nil
	for _, r := range batch {
		l.pending[r.id] = r
	}
	return batch
}

func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)+len(l.pending) == 0 && time.Since(l.used) > idleAfter
}

func (l *link) read() error {
	r := bufio.NewReaderSize(l.conn, bufferSize)
	for {
		// Set for each read of the connection only: most frames are in the buffer already.
		if r.Buffered() == 0 {
			if err := l.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
				return err
			}
		}
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		if f.kind != kindPong {
			l.answer(f)
		}
	}
}

func (l *link) answer(f frame) {
	l.mu.Lock()
	r, ok := l.pending[f.id]
	if ok {
		delete(l.pending, f.id)
		l.bytes -= len(r.payload)
	}
	l.mu.Unlock()
	if ok {
		r.done <- result{frame: f}
	}
}
