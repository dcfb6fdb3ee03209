package fsm

import (
	"encoding/binary"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
)

// The bucket tree. Numbers in keys are big-endian, so that keys sort as the numbers do. "sealed" values
// end in their CRC-32C; the others are covered by the hashes of the records, see verify.go.
//
//	state
//	├── state          → position (sealed): format, raft index and term, sequence number, time, root, …
//	├── identity       → Identity as JSON (sealed)
//	└── configuration  → the cluster's members as Raft encodes them (sealed)
//	records
//	└── seq            → the record, verbatim
//	tree
//	└── seq            → hashes of the tree nodes that leaf number seq completes, from its own upwards
//	objects
//	└── kind 0 id      → pointer: what is there now
//	history
//	└── kind 0 id 0 seq → pointer: what record seq made of it; a zero length means deleted
//	requests
//	└── request id     → seq of the record that it made; only of the last position.Window records
//
// A pointer says which bytes of which record are an object's value. Values are stored once, in the
// record: an object cannot differ from the log that explains it.
var (
	bucketState    = []byte("state")
	bucketRecords  = []byte("records")
	bucketTree     = []byte("tree")
	bucketObjects  = []byte("objects")
	bucketHistory  = []byte("history")
	bucketRequests = []byte("requests")

	buckets = [][]byte{bucketState, bucketRecords, bucketTree, bucketObjects, bucketHistory, bucketRequests}

	keyPosition      = []byte("state")
	keyIdentity      = []byte("identity")
	keyConfiguration = []byte("configuration")
)

const hashSize = 32

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// objectKey is an object's key. Kinds and ids contain no zero byte (audit.Check), so no key is another's prefix.
func objectKey[T ~string | ~[]byte](kind, id T) []byte {
	key := make([]byte, 0, len(kind)+1+len(id)+1+8) // with room for what historyKey appends
	key = append(key, kind...)
	key = append(key, 0)
	return append(key, id...)
}

// historyKey reuses object's spare capacity.
func historyKey(object []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(object, 0), seq)
}

// cutHistoryKey gives the object's key and the sequence number of a history key.
func cutHistoryKey(key []byte) (object []byte, seq uint64, ok bool) {
	cut := len(key) - 9
	if cut < 0 || key[cut] != 0 {
		return nil, 0, false
	}
	return key[:cut], binary.BigEndian.Uint64(key[cut+1:]), true
}

// pointer locates a value. seq is part of the key in history, and stored in objects.
type pointer struct {
	seq     uint64
	created uint64
	offset  uint32
	length  uint32 // 0: deleted
}

const (
	historySize = 16
	objectSize  = 24
)

func (p pointer) history() []byte {
	b := make([]byte, 0, historySize)
	b = binary.BigEndian.AppendUint64(b, p.created)
	b = binary.BigEndian.AppendUint32(b, p.offset)
	return binary.BigEndian.AppendUint32(b, p.length)
}

func (p pointer) object() []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, objectSize), p.seq), p.history()...)
}

func historyPointer(seq uint64, value []byte) (pointer, bool) {
	if len(value) != historySize {
		return pointer{}, false
	}
	return pointer{
		seq: seq, created: binary.BigEndian.Uint64(value),
		offset: binary.BigEndian.Uint32(value[8:]), length: binary.BigEndian.Uint32(value[12:]),
	}, true
}

func objectPointer(value []byte) (pointer, bool) {
	if len(value) != objectSize {
		return pointer{}, false
	}
	return historyPointer(binary.BigEndian.Uint64(value), value[8:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends data's checksum.
func seal(data []byte) []byte {
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// unseal gives the data of a sealed value; false if it is damaged or absent.
func unseal(sealed []byte) ([]byte, bool) {
	cut := len(sealed) - 4
	if cut < 0 || crc32.Checksum(sealed[:cut], castagnoli) != binary.BigEndian.Uint32(sealed[cut:]) {
		return nil, false
	}
	return sealed[:cut], true
}

// treeNode reads a tree node from the file.
func treeNode(tx *bolt.Tx, level uint, index uint64) (core.Hash, error) {
	return cutNode(tx.Bucket(bucketTree).Get(seqKey((index+1)<<level)), level, index)
}

// cutNode takes a tree node from those of a leaf: the one at (level, index) is complete with leaf
// (index+1)<<level.
func cutNode(hashes []byte, level uint, index uint64) (core.Hash, error) {
	begin := int(level) * hashSize //nolint:gosec // at most 64 levels
	if begin+hashSize > len(hashes) {
		return core.Hash{}, damaged("the tree has no node %d of level %d", index, level)
	}
	return core.Hash(hashes[begin : begin+hashSize]), nil
}
