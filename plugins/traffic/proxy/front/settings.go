package front

import (
	"net/netip"
	"time"
)

// Settings hold for the whole proxy.
type Settings struct {
	MaxConnections    int // of clients, over all listeners
	TrustedProxies    []netip.Prefix
	ReadHeaderTimeout time.Duration // for a request's head, and for a TLS handshake
	IdleTimeout       time.Duration // of a keep-alive connection
	ConnectPatience   time.Duration // for an endpoint to take a connection after all have refused; 0: none
}

// DefaultSettings are in force until Configure.
func DefaultSettings() Settings {
	return Settings{
		MaxConnections: 20000, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second, ConnectPatience: time.Second,
	}
}

// Limits that no setting changes.
const (
	maxHead      = 64 << 10         // of a request's or response's head
	headBuffer   = 4 << 10          // what an idle connection keeps
	stallTimeout = 60 * time.Second // of a client that neither sends its body nor takes the answer
	lingerTime   = time.Second      // for a client to read the last answer before its unread input resets it
)

func (s *Settings) trusts(ip netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
