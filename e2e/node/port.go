package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// The ports that tests choose are below those of instances (20000 and more) and those that the kernel gives to
// outgoing connections (32768 and more): a daemon that is down finds its port free when it comes back.
const (
	firstPort = 10000
	lastPort  = 19999
)

// given are the ports that this process has chosen; nobody gets one twice.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort returns a TCP port of the loopback interface that nobody listens on now.
func FreePort() (int, error) { return freePort("127.0.0.1") }

func freePort(host string) (int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	for _, n := range rand.Perm(lastPort - firstPort + 1) {
		port := firstPort + n
		if given.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		given.ports[port] = true
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no port from %d to %d is free at %s", firstPort, lastPort, host)
}

// FreeAddress returns 127.0.0.1 with a free port.
func FreeAddress() (string, error) {
	port, err := FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
