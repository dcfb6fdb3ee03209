package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// connect makes a connection and returns both of its ends.
func connect(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c, err := Dial(context.Background(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, peer.(*net.TCPConn)
}

// exchange carries one request and its answer.
func exchange(t *testing.T, c *Conn, peer net.Conn) {
	t.Helper()
	c.Begin()
	buf := make([]byte, 4)
	for _, step := range []func() error{
		func() error { _, err := c.Write([]byte("ping")); return err },
		func() error { _, err := io.ReadFull(peer, buf); return err },
		func() error { _, err := peer.Write([]byte("pong")); return err },
		func() error { _, err := io.ReadFull(c.TCPConn, buf); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// fail sends a request and returns how waiting for the answer fails.
func fail(t *testing.T, c *Conn) error {
	t.Helper()
	c.Begin()
	_, _ = c.Write([]byte("more")) // fails if a reset has come already
	return answer(t, c)
}

func answer(t *testing.T, c *Conn) error {
	t.Helper()
	n, err := c.Read(make([]byte, 4))
	if err == nil {
		t.Fatalf("an answer of %d bytes", n)
	}
	return err
}

// deaths are ways for a connection to end under a request, and whether that proves that it did not arrive.
var deaths = []struct {
	name string
	want bool
	play func(t *testing.T, c *Conn, peer *net.TCPConn) error
}{
	{"closed before", true, func(t *testing.T, c *Conn, peer *net.TCPConn) error {
		_ = peer.Close()
		return fail(t, c)
	}},
	{"reset before", true, func(t *testing.T, c *Conn, peer *net.TCPConn) error {
		_ = peer.SetLinger(0)
		_ = peer.Close()
		return fail(t, c)
	}},
	{"received and not read", false, func(t *testing.T, c *Conn, peer *net.TCPConn) error {
		c.Begin()
		_, _ = c.Write([]byte("more"))
		waitReadable(t, peer)
		_ = peer.Close() // resets, because of what was not read
		return answer(t, c)
	}},
	{"read", false, func(t *testing.T, c *Conn, peer *net.TCPConn) error {
		c.Begin()
		_, _ = c.Write([]byte("more"))
		if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		_ = peer.Close()
		return answer(t, c)
	}},
	{"read in part", false, func(t *testing.T, c *Conn, peer *net.TCPConn) error {
		c.Begin()
		_, _ = c.Write([]byte("more"))
		if _, err := peer.Read(make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		_ = peer.Close()
		return answer(t, c)
	}},
	{"half closed and reading", false, func(t *testing.T, c *Conn, peer *net.TCPConn) error {
		_ = peer.CloseWrite()
		err := fail(t, c)
		if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		return err
	}},
}

func TestUndelivered(t *testing.T) {
	for _, c := range deaths {
		t.Run(c.name, func(t *testing.T) {
			for _, used := range []bool{true, false} {
				for range 20 {
					conn, peer := connect(t)
					if used {
						exchange(t, conn, peer)
					}
					err := c.play(t, conn, peer)
					if got := conn.Undelivered(err); got != c.want {
						t.Fatalf("used before %v, failed with %v: undelivered is %v", used, err, got)
					}
				}
			}
		})
	}
}

// waitReadable waits until there is something to read, and leaves it there.
func waitReadable(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Read(func(fd uintptr) bool {
		n, _, _ := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return n > 0
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPool(t *testing.T) {
	var p Pool
	now := time.Now()
	fresh, freshPeer := connect(t)
	exchange(t, fresh, freshPeer)
	gone, gonePeer := connect(t)
	exchange(t, gone, gonePeer)
	_ = gonePeer.Close()
	noisy, noisyPeer := connect(t)
	if _, err := noisyPeer.Write([]byte("unasked")); err != nil {
		t.Fatal(err)
	}
	waitReadable(t, noisy.TCPConn)

	p.Put(fresh, now)
	p.Put(gone, now)
	p.Put(noisy, now)
	if got := p.Get(now.Add(time.Minute/6), false); got != fresh || !got.Reused {
		t.Fatal("not the one connection that can be used")
	}
	p.Put(fresh, now)
	if p.Get(now.Add(2*time.Second), true) != nil {
		t.Error("a request that cannot be repeated got a connection that has been idle for long")
	}
	p.Close()
	if p.Get(now, false) != nil {
		t.Error("a closed pool gave a connection")
	}
	other, otherPeer := connect(t)
	p.Put(other, now)
	if _, err := otherPeer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection put into a closed pool stays open: %v", err)
	}
	p.Open()
	third, _ := connect(t)
	p.Put(third, now)
	if p.Get(now, false) != third {
		t.Error("a pool that was opened again keeps nothing")
	}
}

func TestLocalFailure(t *testing.T) {
	if !LocalFailure(&net.OpError{Err: syscall.EADDRNOTAVAIL}) || LocalFailure(&net.OpError{Err: syscall.ECONNREFUSED}) {
		t.Error("the wrong side is blamed")
	}
}
