// Package upstream keeps the proxy's connections to endpoints: it dials, keeps idle ones for the next
// request, and answers the one question a retry depends on: can the request have reached the instance?
package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
)

// DialTimeout bounds one attempt to connect to an endpoint.
const DialTimeout = 3 * time.Second

// bufferSize holds a response's head and, mostly, the whole of a small response.
const bufferSize = 8 << 10

// Conn is one connection to an endpoint.
type Conn struct {
	*net.TCPConn
	Reader   http1.Reader
	Response http1.Response
	Body     http1.Body
	Reused   bool // it has carried a request before

	raw       syscall.RawConn
	peek      func(fd uintptr) bool
	peeked    bool // what peek found: still open and silent
	try       func(fd uintptr) bool
	tryBuf    []byte
	tried     int // what try has read
	written   uint64
	mark      uint64 // written before the present request
	idleSince time.Time
	readUntil time.Time // the read deadline in force; zero: none
}

// Dial connects to an endpoint.
func Dial(ctx context.Context, address string) (*Conn, error) {
	dialer := net.Dialer{Timeout: DialTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return newConn(nc.(*net.TCPConn))
}

func newConn(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	c := &Conn{TCPConn: tcp, raw: raw}
	c.Reader = http1.NewReader(tcp, make([]byte, bufferSize))
	c.peek, c.try = c.look, c.grab
	return c, nil
}

// LocalFailure says whether a dial failed for a reason on this machine (no port, no descriptor left), so
// that the endpoint is not to blame.
func LocalFailure(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, context.Canceled)
}

// Write sends p and counts what the kernel took.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.written += uint64(n)
	return n, err
}

// Sent records bytes that went out past Write.
func (c *Conn) Sent(n int64) { c.written += uint64(n) }

// Begin marks the beginning of a request, for Undelivered.
func (c *Conn) Begin() { c.mark = c.written }

// Stale says whether an idle connection cannot be used any more: closed by the endpoint, or with bytes
// on it that nobody asked for.
func (c *Conn) Stale() bool {
	if c.Reader.Buffered() > 0 {
		return true
	}
	c.peeked = false
	return c.raw.Read(c.peek) != nil || !c.peeked
}

func (c *Conn) look(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	c.peeked = err == unix.EAGAIN
	return true
}

// TryRead reads what has arrived, without waiting. It returns 0 if there is nothing, or nothing but an end or
// an error, which the next Read will report.
func (c *Conn) TryRead(p []byte) int {
	c.tryBuf, c.tried = p, 0
	if len(p) == 0 || c.raw.Read(c.try) != nil {
		return 0
	}
	return max(0, c.tried)
}

func (c *Conn) grab(fd uintptr) bool {
	c.tried, _ = unix.Read(int(fd), c.tryBuf)
	c.tryBuf = nil
	return true
}

// undeliveredWait is how long Undelivered waits for the fate of bytes in flight.
const undeliveredWait = 500 * time.Millisecond

// Undelivered says, after a read failed with err before any answer, whether it is certain that the request
// did not reach the endpoint. That is so if no byte of it was sent; or if the endpoint had closed the
// connection before any of it arrived, as happens when an idle connection is closed while a request is on
// its way. The kernel knows: the endpoint's FIN has come (else err is a reset), it acknowledged nothing of
// the request, which it would have done had anything arrived before, and what was sent was reset. A reset
// alone proves nothing, because bytes may be received and not acknowledged yet. When in doubt it says no.
func (c *Conn) Undelivered(err error) bool {
	if c.written == c.mark {
		return true
	}
	if !errors.Is(err, io.EOF) {
		return false
	}
	for deadline := time.Now().Add(undeliveredWait); ; {
		acked, closed, err := c.acknowledged()
		// The count includes the SYN.
		if err != nil || acked > c.mark+1 {
			return false
		}
		if closed {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(2 * time.Millisecond)
	}
}

// tcpClose is the kernel's TCP_CLOSE: a connection that was reset.
const tcpClose = 7

func (c *Conn) acknowledged() (bytes uint64, closed bool, err error) {
	var info *unix.TCPInfo
	cerr := c.raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err := errors.Join(cerr, err); err != nil {
		return 0, false, err
	}
	return info.Bytes_acked, info.State == tcpClose, nil
}

// ReadBy makes reads fail from about the given time on (at most a second later). Setting a deadline for
// each read would cost more than the read's bookkeeping, so one in force is kept while it is near enough.
func (c *Conn) ReadBy(now time.Time, within time.Duration) {
	until := now.Add(within)
	if c.readUntil.IsZero() || c.readUntil.Before(until) || c.readUntil.After(until.Add(time.Second)) {
		c.ReadUntil(until.Add(time.Second))
	}
}

// ReadUntil sets the deadline of reads.
func (c *Conn) ReadUntil(t time.Time) {
	c.readUntil = t
	_ = c.SetReadDeadline(t)
}

// ReadAlways removes the deadline of reads.
func (c *Conn) ReadAlways() {
	if !c.readUntil.IsZero() {
		c.ReadUntil(time.Time{})
	}
}
