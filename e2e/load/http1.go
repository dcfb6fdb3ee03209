package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// maxBody is how much of an answer is read; more is a wrong body.
const maxBody = 4 << 20

// connection speaks HTTP/1.1 and repeats nothing.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

func (r *Run) dial() (*connection, error) {
	conn, err := dialer(r.config.Timeout).Dial("tcp", r.config.Target)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

// idle reports whether the connection can take another request: the peer has neither closed it nor sent
// anything. It asks the kernel without waiting.
func (c *connection) idle() bool {
	conn, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	idle := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		idle = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && idle
}

// keepAlive is one user with one connection, which it renews when the peer has closed it.
func (r *Run) keepAlive(ctx context.Context, s Stream, plan schedule) {
	var conn *connection
	for n := 0; plan.wait(ctx, n) && !r.book.full(); n++ {
		if conn != nil && !conn.idle() {
			_ = conn.Close()
			conn = nil
		}
		var body []byte
		if s.Body != nil {
			body = s.Body(n)
		}
		conn = r.exchange(s, conn, body, plan.at(n))
	}
	if conn != nil {
		_ = conn.Close()
	}
}

// fresh sends one request on a connection of its own.
func (r *Run) fresh(s Stream, n int, intended time.Duration) {
	var body []byte
	if s.Kind == Post {
		body = s.Body(n)
	}
	if conn := r.exchange(s, nil, body, intended); conn != nil {
		_ = conn.Close()
	}
}

// exchange sends one request, on conn or else on a new connection, and records what came of it. It
// returns the connection if that can be used again, and nil otherwise.
func (r *Run) exchange(s Stream, conn *connection, body []byte, intended time.Duration) *connection {
	record := Record{Kind: s.Kind, Revision: NoRevision, Intended: intended, Begin: r.now()}
	if body != nil {
		record.Paused = s.Pace
	}
	var err error
	if conn == nil {
		if conn, err = r.dial(); err != nil {
			r.failed(record, TransportError, err)
			return nil
		}
	}
	_ = conn.SetDeadline(time.Now().Add(r.config.Timeout + s.Pace))
	sent := make(chan error, 1)
	go func() { sent <- r.send(conn, s, body) }()
	keep := r.receive(s, conn, body, record)
	if !keep {
		_ = conn.Close()
	}
	if err := <-sent; err != nil || !keep {
		_ = conn.Close()
		return nil
	}
	return conn
}

func (r *Run) send(conn *connection, s Stream, body []byte) error {
	req := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: s.Path}, Host: r.config.Host,
		Header: http.Header{"User-Agent": {"instar-load"}},
	}
	if body == nil {
		return req.Write(conn)
	}
	req.Method = http.MethodPost
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = -1 // chunked: nobody on the way knows how much will come
	reader, writer := io.Pipe()
	req.Body = reader
	go pour(writer, body, s.Pace)
	err := req.Write(conn)
	_ = reader.CloseWithError(io.ErrClosedPipe) // lets the pouring end when the connection broke
	return err
}

// pour writes body in a few pieces, spread over pace. What has been poured is gone: it cannot be sent again.
func pour(w *io.PipeWriter, body []byte, pace time.Duration) {
	const pieces = 4
	for i := range pieces {
		if i > 0 && pace > 0 {
			<-time.After(pace / (pieces - 1))
		}
		if _, err := w.Write(body[len(body)*i/pieces : len(body)*(i+1)/pieces]); err != nil {
			return
		}
	}
	_ = w.Close()
}

// receive reads and judges the answer, and reports whether the connection can be used again.
func (r *Run) receive(s Stream, conn *connection, sent []byte, record Record) bool {
	if _, err := conn.reader.Peek(1); err != nil {
		r.failed(record, TransportError, fmt.Errorf("no answer: %w", err))
		return false
	}
	record.FirstByte = r.now()
	res, err := http.ReadResponse(conn.reader, nil)
	if err != nil {
		r.failed(record, TransportError, fmt.Errorf("answer broken in its header: %w", err))
		return false
	}
	defer func() { _ = res.Body.Close() }()
	whole := r.judge(s, res, sent, record)
	return whole && !res.Close
}

// judge reads the answer's body and records the outcome. It reports whether the body came whole.
func (r *Run) judge(s Stream, res *http.Response, sent []byte, record Record) bool {
	record.Status = uint16(res.StatusCode)
	record.Revision = r.revision(res.Header)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	switch {
	case err != nil:
		r.failed(record, Truncated, fmt.Errorf("answer %d broke after %d bytes: %w", res.StatusCode, len(body), err))
		return false
	case res.StatusCode < 200 || res.StatusCode > 299:
		r.failed(record, BadStatus, fmt.Errorf("answer %d: %.200s", res.StatusCode, body))
		return true
	}
	if s.Check != nil {
		err = s.Check(Exchange{Status: res.StatusCode, Header: res.Header, Sent: sent, Body: body})
	}
	if err != nil {
		r.failed(record, WrongBody, err)
		return true
	}
	record.End = r.now()
	r.book.add(record, "")
	return true
}

func (r *Run) failed(record Record, outcome Outcome, err error) {
	record.Outcome = outcome
	record.End = r.now()
	r.book.add(record, err.Error())
}
