package mesh

import (
	"context"
	"crypto/x509"
)

// The protocols that nodes speak, as ALPN names them.
const (
	Raft    = "instar-raft/1"
	Propose = "instar-propose/1"
	RPC     = "instar-rpc/1"
	Join    = "instar-join/1"
)

// Peer is the other end of a connection.
type Peer struct {
	Node        string            // its name; empty for one that is not a member yet
	Certificate *x509.Certificate // nil: it showed none
}

type peerKey struct{}

func withPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerOf returns who sent the request whose context ctx is.
func PeerOf(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}
