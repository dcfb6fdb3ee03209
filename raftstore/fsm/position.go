package fsm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
)

// Format is the format number of the file. A machine refuses any other.
const Format = 1

// DefaultWindow is how many records back a request id is remembered.
const DefaultWindow = 1 << 17

// Position is how far the machine is, in the log of Raft and in its own.
type Position struct {
	RaftIndex   uint64 // newest entry applied
	RaftTerm    uint64
	ConfigIndex uint64 // of the entry that brought the configuration
	Installed   uint64 // raft index at which the whole file was put in place by a restore; 0: never
	Seq         uint64 // newest record
	Time        int64  // of that record, nanoseconds since 1970
	Objects     uint64 // that exist
	Window      uint64 // request ids are remembered for so many records
	Root        core.Hash
}

const positionSize = 4 + 8*8 + hashSize

func (p *Position) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, positionSize+4), Format)
	for _, n := range []uint64{p.RaftIndex, p.RaftTerm, p.ConfigIndex, p.Installed, p.Seq, uint64(p.Time), p.Objects, p.Window} { //nolint:gosec // two's complement, back in decode
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return seal(append(b, p.Root[:]...))
}

func decodePosition(sealed []byte) (Position, error) {
	b, ok := unseal(sealed)
	if !ok || len(b) < 4 {
		return Position{}, damaged("bucket state: the position's checksum is wrong")
	}
	if format := binary.BigEndian.Uint32(b); format != Format {
		return Position{}, core.Errorf(core.CodeUnsupported, "the state is in format %d, this instard reads format %d", format, Format).
			WithHint("run the version of instard that wrote it, or a newer one")
	}
	if len(b) != positionSize {
		return Position{}, damaged("bucket state: the position has %d bytes, not %d", len(b), positionSize)
	}
	var n [8]uint64
	for i := range n {
		n[i] = binary.BigEndian.Uint64(b[4+8*i:])
	}
	return Position{
		RaftIndex: n[0], RaftTerm: n[1], ConfigIndex: n[2], Installed: n[3], Seq: n[4],
		Time: int64(n[5]), Objects: n[6], Window: n[7], Root: core.Hash(b[positionSize-hashSize:]), //nolint:gosec // see encode
	}, nil
}

func readPosition(tx *bolt.Tx) (Position, error) {
	return decodePosition(tx.Bucket(bucketState).Get(keyPosition))
}

// Identity names the log that the machine keeps. It is set by the cluster's first entry.
type Identity struct {
	Cluster    string `json:"cluster"` // name
	ID         string `json:"id"`      // random, made once
	Generation uint64 `json:"generation"`
}

// Origin is the log's name in receipts and checkpoints; empty as long as there is no identity.
func (i Identity) Origin() string {
	if i.ID == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d", i.Cluster, i.ID, i.Generation)
}

func readIdentity(tx *bolt.Tx) (Identity, error) {
	sealed := tx.Bucket(bucketState).Get(keyIdentity)
	if sealed == nil {
		return Identity{}, nil
	}
	data, ok := unseal(sealed)
	var identity Identity
	if !ok || json.Unmarshal(data, &identity) != nil {
		return Identity{}, damaged("bucket state: the identity's checksum is wrong")
	}
	return identity, nil
}

func writeIdentity(tx *bolt.Tx, identity Identity) error {
	data, err := json.Marshal(identity)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketState).Put(keyIdentity, seal(data))
}

func readConfiguration(tx *bolt.Tx) ([]byte, error) {
	sealed := tx.Bucket(bucketState).Get(keyConfiguration)
	if sealed == nil {
		return nil, nil
	}
	data, ok := unseal(sealed)
	if !ok {
		return nil, damaged("bucket state: the configuration's checksum is wrong")
	}
	return append([]byte(nil), data...), nil
}

// damaged is an error about the file's content; open adds which file and what to do.
func damaged(format string, args ...any) *core.Error {
	return core.Errorf(core.CodeCorrupt, format, args...)
}
