package forward

import (
	"context"
	"net"
	"time"

	"github.com/instarhq/instar/core"
)

// Protocol is the name of the protocol in TLS (ALPN).
const Protocol = "instar-propose/1"

// Peer is another node and where it is.
type Peer struct {
	Node    string
	Address string
}

// Dial opens a connection to a peer that has proved to be that node.
type Dial func(ctx context.Context, to Peer) (net.Conn, error)

// Progress is how far a node is.
type Progress struct {
	Node      string        `json:"node"`
	Leader    string        `json:"leader,omitempty"` // whom it follows
	Term      uint64        `json:"term"`
	LogLast   uint64        `json:"log_last"`  // newest entry of its log, committed or not
	Committed uint64        `json:"committed"` // newest entry that it knows to be committed
	Applied   uint64        `json:"applied"`   // newest entry in its state
	Seq       uint64        `json:"seq"`       // newest record
	Contact   time.Duration `json:"contact"`   // since it heard from the leader; 0 on the leader, negative: never
}

// Handler answers for a node's store. None of its methods asks another node.
type Handler interface {
	// Propose commits a transaction if this node leads, else it is CodeNotLeader. It calls done once, when
	// that is known, maybe before it returns; neither it nor done blocks. After until, if that is not
	// zero, nobody wants it to be proposed any more.
	Propose(txn core.Txn, until time.Time, done func(core.Receipt, error))
	// ReadIndex gives a sequence number that includes everything committed before the call, if this node
	// leads, else it is CodeNotLeader.
	ReadIndex(ctx context.Context) (uint64, error)
	// Progress says how far the node is.
	Progress() Progress
	// Compare gets the tree head of a peer's log and gives the node's own at the same size;
	// CodeUnavailable if its log is shorter or another one.
	Compare(ctx context.Context, peer string, head core.TreeHead) (core.TreeHead, error)
}

// Answer is what a peer says to a transaction.
type Answer struct {
	Receipt core.Receipt
	// Seen is the newest record of the peer when it refused the transaction.
	Seen uint64
}
