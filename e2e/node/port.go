package node

import (
	"fmt"
	"net"
)

// FreePort returns a TCP port of the loopback interface that nobody listens on now.
func FreePort() (int, error) { return freePort("127.0.0.1") }

func freePort(host string) (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%s is no TCP address", listener.Addr())
	}
	return address.Port, listener.Close()
}

// FreeAddress returns 127.0.0.1 with a free port.
func FreeAddress() (string, error) {
	port, err := FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
