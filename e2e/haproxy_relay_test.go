package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// relay passes connections to a loopback address of this machine on to one of the other machine, byte by byte,
// with each side's end as it comes. It returns the address.
func (m *machine) relay(to string) string {
	m.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.Fatal(err)
	}
	var connections sync.WaitGroup
	m.Cleanup(func() {
		_ = listener.Close()
		connections.Wait()
	})
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { m.pass(client.(*net.TCPConn), to) })
		}
	})
	return listener.Addr().String()
}

// pass connects a client. If that cannot be done, the client gets a reset, as from a port at which nobody listens.
func (m *machine) pass(client *net.TCPConn, to string) {
	conn, err := m.dial(to)
	if err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	server := conn.(*net.TCPConn)
	var halves sync.WaitGroup
	half := func(from, to *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil {
			_ = from.SetLinger(0) // a broken connection is broken on both sides
			_ = from.Close()
		}
		_ = to.CloseWrite()
	}
	halves.Go(func() { half(client, server) })
	halves.Go(func() { half(server, client) })
	halves.Wait()
	_, _ = client.Close(), server.Close()
}

// dial connects from the other machine: a socket belongs to the network namespace in which it was made.
func (m *machine) dial(address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var ns *os.File
		if ns, err = os.Open("/proc/" + m.pid + "/ns/net"); err != nil {
			return
		}
		defer func() { _ = ns.Close() }() // only a handle
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter the machine's network: %w", err)
			return
		}
		conn, err = new(net.Dialer).DialContext(context.Background(), "tcp", address)
	}()
	<-done
	return conn, err
}
