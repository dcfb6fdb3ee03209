package core

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Limits of the store. A request over one of them is refused with CodeTooLarge before it is proposed.
const (
	MaxValueBytes = 1 << 20 // one object's value, 1 MiB
	MaxTxnBytes   = 4 << 20 // one encoded transaction, 4 MiB
	MaxIDBytes    = 255     // one object's id
)

// AnySeq as an Op's IfSeq means: whatever is there. The zero IfSeq means: nothing may be there.
const AnySeq = ^uint64(0)

// Kind names a class of stored objects.
type Kind string

// The kinds of stored objects.
const (
	KindService        Kind = "service"
	KindRevision       Kind = "revision"
	KindConfig         Kind = "config"
	KindInstance       Kind = "instance"
	KindInstanceStatus Kind = "instance_status"
	KindRollout        Kind = "rollout"
	KindRoute          Kind = "route"
	KindRouteStatus    Kind = "route_status"
	KindCheck          Kind = "check"
	KindNode           Kind = "node"
	KindDriver         Kind = "driver"
)

// Meta says who made a transaction, when and why. The leader stamps Time (and Origin if empty) in
// Propose; everything else comes from the caller.
type Meta struct {
	Principal string    `json:"principal"`            // "local:root", "controller", "agent:n1"
	Time      time.Time `json:"time"`                 // UTC; never before the preceding record's
	Verb      string    `json:"verb"`                 // "service.apply", "rollout.switch", "instance.report"
	Reason    string    `json:"reason,omitempty"`     // free text, for people
	RequestID string    `json:"request_id,omitempty"` // a retry with the same id gets the first receipt
	Cause     uint64    `json:"cause,omitempty"`      // the sequence number that this follows from
	Origin    string    `json:"origin,omitempty"`     // the node that proposed it
}

// Op is one write of a transaction.
type Op struct {
	Kind   Kind   `json:"kind"`
	ID     string `json:"id"`
	Delete bool   `json:"delete,omitempty"`
	Value  []byte `json:"value,omitempty"` // JSON of the core noun; empty for a delete
	// IfSeq is the object's Seq that the writer has seen; 0: the object must not exist; AnySeq: no check.
	IfSeq uint64 `json:"if_seq"`
}

// Txn is an all-or-nothing set of writes. It holds at least one Op and no object twice.
type Txn struct {
	Meta Meta `json:"meta"`
	Ops  []Op `json:"ops"`
}

// Object is the stored value of a (kind, id) as of some sequence number.
type Object struct {
	Kind    Kind   `json:"kind"`
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`     // the record that wrote this value
	Created uint64 `json:"created"` // the record that made the object
	Value   []byte `json:"value"`
}

// Hash is a SHA-256 value; it prints and marshals as lower-case hexadecimal.
type Hash [32]byte

// String gives the 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return fmt.Errorf("a SHA-256 hash has %d hexadecimal digits, not %d", 2*len(h), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Receipt is the proof that a transaction was committed: the leaf at index Seq-1 of the log of Origin.
type Receipt struct {
	Origin   string `json:"origin"` // name/cluster-id/generation of the log
	Seq      uint64 `json:"seq"`
	LeafHash Hash   `json:"leaf_hash"`
	Replayed bool   `json:"replayed,omitempty"` // the request id had been answered before
}

// Record is one leaf of the audit log.
type Record struct {
	Seq      uint64 `json:"seq"` // from 1, without gaps
	Txn      Txn    `json:"txn"`
	LeafHash Hash   `json:"leaf_hash"` // RFC 6962: SHA-256(0x00 || Raw)
	Raw      []byte `json:"-"`         // the committed command, verbatim
}

// TreeHead is the state of the Merkle tree over the first Size records.
type TreeHead struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   Hash   `json:"root"`
}

// Proposer commits transactions.
type Proposer interface {
	// Propose commits txn and returns when it is durable and applied on this node. A failed IfSeq is
	// CodeConflict with the object named, and leaves no record. CodeTimeout means that the outcome is
	// unknown: repeat it with the same request id.
	Propose(ctx context.Context, txn Txn) (Receipt, error)
}

// Reader reads objects from the local replica.
type Reader interface {
	// Seq is the newest sequence number applied here.
	Seq() uint64
	// Get reads one object as of sequence number at (0: now). CodeNotFound if it did not exist then.
	Get(ctx context.Context, kind Kind, id string, at uint64) (Object, error)
	// List reads all objects of a kind whose id starts with prefix, ordered by id, as of at (0: now).
	List(ctx context.Context, kind Kind, prefix string, at uint64) ([]Object, error)
}

// ErrReplaced ends a feed when a restore has put another log in the place of the one that it followed.
// Whoever keeps what a feed brought begins anew, from the objects as they are now: what it has may never
// have happened, and the newest sequence number may be a smaller one than before.
var ErrReplaced = errors.New("the log was replaced by a restore")

// Feed follows the log.
type Feed interface {
	// Changes yields every record after sequence number after, in order and without gaps, and then
	// waits for more until ctx ends, which ends the sequence with ctx's error. The sequence is of the log
	// that was there when Changes was called; an error that wraps ErrReplaced ends it with that log.
	Changes(ctx context.Context, after uint64) iter.Seq2[Record, error]
}

// Log gives access to the audit log and its proofs.
type Log interface {
	// Record reads one record; CodeNotFound outside 1..Head().Size.
	Record(ctx context.Context, seq uint64) (Record, error)
	// Head is the current tree head.
	Head(ctx context.Context) (TreeHead, error)
	// HeadAt is the tree head when the log had size records.
	HeadAt(ctx context.Context, size uint64) (TreeHead, error)
	// InclusionProof proves that record seq is in the tree of the given size (RFC 6962, 2.1.1).
	InclusionProof(ctx context.Context, seq, size uint64) ([]Hash, error)
	// ConsistencyProof proves that the tree of size second extends that of size first (2.1.2).
	ConsistencyProof(ctx context.Context, first, second uint64) ([]Hash, error)
}

// Store is the whole port; coretest's conformance suite defines what an implementation must do.
// Consumers take the small interfaces above.
type Store interface {
	Proposer
	Reader
	Feed
	Log
}
