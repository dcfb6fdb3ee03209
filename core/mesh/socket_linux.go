package mesh

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledged is for how long sent data may stay without acknowledgement: a host that vanished
// keeps its connections for minutes otherwise.
const unacknowledged = 10 * time.Second

// tune makes a dead peer known: by keep-alives when nothing is sent, by missing acknowledgements else.
func tune(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3})
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // closed already: the next read says so
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
	})
}
