package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// maxMessage bounds one message; a state of ten thousand routes is a few megabytes.
const maxMessage = 64 << 20

// Link is a connection between two processes of the proxy. A message is JSON behind its length.
type Link struct{ c *net.UnixConn }

func newLink(c *net.UnixConn) *Link { return &Link{c} }

// Close ends the connection.
func (l *Link) Close() error { return l.c.Close() }

// Within bounds what follows on the link; 0 removes the bound.
func (l *Link) Within(d time.Duration) {
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	_ = l.c.SetDeadline(t) // fails only on a closed connection, and then so does what follows
}

// Send sends a message.
func (l *Link) Send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	_, err = l.c.Write(append(frame, data...))
	return err
}

// SendWithin sends a message to a process that may not listen any more. If that takes too long the link is
// closed, because a part of the message may have gone out. If the other side has closed it, what it said last
// can still be received.
func (l *Link) SendWithin(d time.Duration, v any) error {
	err := l.c.SetWriteDeadline(time.Now().Add(d))
	if err == nil {
		err = l.Send(v)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.Join(err, l.c.Close())
	}
	return err
}

// Receive receives a message.
func (l *Link) Receive(v any) error {
	var length [4]byte
	if _, err := io.ReadFull(l.c, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxMessage {
		return fmt.Errorf("message of %d bytes: at most %d are allowed", n, maxMessage)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(l.c, data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// SendSocket passes a listening socket. It stays open on this side.
func (l *Link) SendSocket(ln *net.TCPListener) error {
	// Not ln.File: it would make the socket blocking, for both processes.
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		_, _, err = l.c.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(fd)), nil)
	})
	return errors.Join(err, cerr)
}

// ReceiveSocket takes a listening socket.
func (l *Link) ReceiveSocket() (*net.TCPListener, error) {
	var b [1]byte
	oob := make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := l.c.ReadMsgUnix(b[:], oob)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("a socket was announced and did not come")
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, errors.New("a socket was announced and did not come")
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer func() { _ = f.Close() }() // FileListener has its own copy
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T came instead of a TCP socket", ln), ln.Close())
	}
	return tcp, nil
}
