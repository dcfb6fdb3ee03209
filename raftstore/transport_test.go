package raftstore

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// deadlines is a connection that remembers the newest deadline of a write.
type deadlines struct {
	net.Conn
	write time.Time
}

func (d *deadlines) SetDeadline(t time.Time) error      { d.write = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }
func (d *deadlines) Write(data []byte) (int, error)     { return len(data), nil }

// TestWritesAreBounded: Raft's deadline holds if it is near; else each write has one of its own.
func TestWritesAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(conn net.Conn) error
		want time.Duration
	}{
		"none":                 {func(net.Conn) error { return nil }, writePatience},
		"near":                 {func(conn net.Conn) error { return conn.SetDeadline(time.Now().Add(time.Second)) }, time.Second},
		"near, of writes only": {func(conn net.Conn) error { return conn.SetWriteDeadline(time.Now().Add(time.Second)) }, time.Second},
		"that of a snapshot":   {func(conn net.Conn) error { return conn.SetDeadline(time.Now().Add(time.Hour)) }, writePatience},
	} {
		t.Run(name, func(t *testing.T) {
			inner := &deadlines{}
			conn := &boundedConn{Conn: inner}
			began := time.Now()
			if err := c.set(conn); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if got := inner.write.Sub(began); got < c.want {
				t.Errorf("the write had %s, want %s", got, c.want)
			}
		})
	}
}

// TestClosingALayerEndsItsConnections, also those that are opened at that moment.
func TestClosingALayerEndsItsConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &boundedLayer{StreamLayer: tcpLayer{listener}}
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	conn, err := l.Dial(raft.ServerAddress(listener.Addr().String()), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	other := <-accepted
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{conn, other} {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection of a closed layer: %v", err)
		}
	}
	a, b := net.Pipe()
	defer b.Close() //nolint:errcheck // ends with the test
	if _, err := l.bound(a); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed layer took a connection: %v", err)
	}
}
