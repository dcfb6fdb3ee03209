// Package mesh is how the nodes of a cluster speak with each other: one TLS listener on the cluster
// address whose ALPN hands each connection to a protocol, all outgoing connections, and HTTP between
// nodes. It checks who the peer is when a connection begins, and again whenever that may have changed;
// handlers are told the peer's name and see no TLS.
//
// A peer is addressed by its name. Where it is comes from Config.Resolve at every dial, so a node that
// moves needs nothing but a new entry there.
package mesh
