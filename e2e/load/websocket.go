package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// session is one WebSocket. A reader is always at work, so that the server's close is answered at once.
type session struct {
	conn     *websocket.Conn
	messages chan []byte
	ended    chan struct{} // closed after err is set
	err      error
	until    time.Time
}

var (
	errMoved     = errors.New("the server went away and said so")
	errWrongEcho = errors.New("wrong echo")
)

// moveDelay is how long a user waits before it comes back to a server that went away.
const moveDelay = 20 * time.Millisecond

// webSocket is one user: it opens a session, sends a message at each of its times and waits for the
// echo, closes after the session's length and comes back. If the server says goodbye it comes back at
// once, and sends again what had not been echoed.
func (r *Run) webSocket(ctx context.Context, s Stream, plan schedule) {
	var current *session
	defer func() {
		if current != nil {
			r.closeSession(current)
		}
	}()
	for n := 0; plan.wait(ctx, n) && !r.book.full(); n++ {
		if current != nil && time.Now().After(current.until) {
			r.closeSession(current)
			current = nil
		}
		current = r.echo(s, current, plan.at(n), fmt.Appendf(nil, "message %d of %d", n, plan.offset))
	}
}

// echo sends one message and records what became of it. It returns the session if that is still good.
func (r *Run) echo(s Stream, current *session, intended time.Duration, message []byte) *session {
	record := Record{Kind: Echo, Revision: NoRevision, Intended: intended, Begin: r.now()}
	deadline := time.Now().Add(r.config.Timeout)
	for {
		var err error
		if current == nil {
			current, err = r.openSession(s)
		}
		if err == nil {
			err = current.echo(message, deadline)
		}
		if err == nil {
			record.Status = http.StatusSwitchingProtocols
			record.FirstByte = r.now()
			record.End = record.FirstByte
			r.book.add(record, "")
			return current
		}
		if !r.again(current, err, deadline) {
			r.failed(record, outcomeOf(err), err)
			return nil
		}
		current = nil
	}
}

// again ends a session that broke with err, which is nil if none could be opened, and reports whether
// the message may be sent on another one.
func (r *Run) again(broken *session, err error, deadline time.Time) bool {
	if broken != nil {
		_ = broken.conn.CloseNow()
	}
	if errors.Is(err, errMoved) && time.Now().Before(deadline) {
		r.book.count(&r.book.moved)
		<-time.After(moveDelay)
		return true
	}
	if broken != nil {
		r.book.count(&r.book.lost)
	}
	return false
}

func outcomeOf(err error) Outcome {
	if errors.Is(err, errWrongEcho) {
		return WrongBody
	}
	return TransportError
}

// openSession makes the handshake, which is a record of its own, and waits for the greeting.
func (r *Run) openSession(s Stream) (*session, error) {
	now := r.now()
	record := Record{Kind: WebSocket, Revision: NoRevision, Intended: now, Begin: now}
	ctx, cancel := context.WithTimeout(context.Background(), r.config.Timeout)
	defer cancel()
	transport := &http.Transport{DialContext: dialer(r.config.Timeout).DialContext, DisableKeepAlives: true}
	//nolint:bodyclose // Dial's documentation: the body never needs to be closed.
	conn, res, err := websocket.Dial(ctx, "ws://"+r.config.Target+s.Path, &websocket.DialOptions{
		Host: r.config.Host, HTTPClient: &http.Client{Transport: transport},
	})
	if res != nil {
		record.FirstByte = r.now()
		record.Status = uint16(res.StatusCode)
		record.Revision = r.revision(res.Header)
	}
	if err != nil {
		outcome := TransportError
		if res != nil {
			outcome = BadStatus
		}
		r.failed(record, outcome, err)
		return nil, err
	}
	if err := r.greeted(ctx, s, conn, res, record); err != nil {
		_ = conn.CloseNow()
		return nil, err
	}
	opened := &session{conn: conn, messages: make(chan []byte, 1), ended: make(chan struct{}), until: time.Now().Add(s.Session)}
	go opened.read()
	return opened, nil
}

// greeted waits for the greeting and records the handshake.
func (r *Run) greeted(ctx context.Context, s Stream, conn *websocket.Conn, res *http.Response, record Record) error {
	r.book.count(&r.book.sessions)
	_, greeting, err := conn.Read(ctx)
	switch {
	case websocket.CloseStatus(err) == websocket.StatusGoingAway:
		err = errMoved
	case err != nil:
		r.book.count(&r.book.lost)
		err = fmt.Errorf("no greeting: %w", err)
		r.failed(record, TransportError, err)
		return err
	case s.Check != nil:
		if err = s.Check(Exchange{Status: res.StatusCode, Header: res.Header, Body: greeting}); err != nil {
			r.failed(record, WrongBody, err)
			return err
		}
	}
	record.End = r.now()
	r.book.add(record, "")
	return err
}

func (s *session) read() {
	defer close(s.ended)
	for {
		_, data, err := s.conn.Read(context.Background())
		if err != nil {
			s.err = err
			return
		}
		select {
		case s.messages <- data:
		default:
			s.err = fmt.Errorf("%w %.40q that nobody asked for", errWrongEcho, data)
			return
		}
	}
}

func (s *session) echo(message []byte, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, message); err != nil {
		return s.why(ctx, err)
	}
	select {
	case got := <-s.messages:
		if !bytes.Equal(got, message) {
			return fmt.Errorf("%w %.40q of %.40q", errWrongEcho, got, message)
		}
		return nil
	case <-s.ended:
		return s.why(ctx, s.err)
	case <-ctx.Done():
		return fmt.Errorf("no echo: %w", ctx.Err())
	}
}

// why gives the reason for which a session ended. The reader knows it: a write fails in many ways after
// the peer's close.
func (s *session) why(ctx context.Context, err error) error {
	select {
	case <-s.ended:
		err = s.err
	case <-ctx.Done():
	}
	if websocket.CloseStatus(err) == websocket.StatusGoingAway {
		return errMoved
	}
	return err
}

// closeSession ends a session from this side, with the closing handshake.
func (r *Run) closeSession(s *session) {
	err := s.conn.Close(websocket.StatusNormalClosure, "")
	<-s.ended
	status := websocket.CloseStatus(s.err)
	switch {
	case status == websocket.StatusGoingAway:
		r.book.count(&r.book.moved)
	case err == nil && errors.Is(s.err, net.ErrClosed):
		// Both sides closed at the same moment: the handshake went well (err), and then the reader found
		// the connection closed from here before it saw the other side's frame.
	case status != websocket.StatusNormalClosure:
		r.book.count(&r.book.lost)
		now := r.now()
		r.failed(Record{Kind: Echo, Revision: NoRevision, Intended: now, Begin: now}, TransportError,
			fmt.Errorf("session not closed cleanly: %w", errors.Join(err, s.err)))
	}
}
