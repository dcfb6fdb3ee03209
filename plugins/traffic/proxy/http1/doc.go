// Package http1 reads and writes HTTP/1.1 messages for the proxy: heads, bodies, framing. It knows
// nothing of connections or routes.
//
// It is strict where leniency would let two parties see two different messages: line ends are CR LF,
// a head has no folded lines, a message has one framing or is refused (RFC 9112 sections 2 to 7). What it
// accepts, net/http accepts too and reads the same way; a fuzz target holds it to that.
package http1
