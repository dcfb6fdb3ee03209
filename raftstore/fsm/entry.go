package fsm

import (
	"encoding/binary"
	"encoding/json"

	"github.com/instarhq/instar/core"
)

// Entry is a committed entry of Raft's log.
type Entry struct {
	Index, Term uint64
	Type        EntryType
	Data        []byte // it is kept neither changed nor referenced after Apply
}

// EntryType says what an entry's data is.
type EntryType int

// The types of entries that a machine sees.
const (
	Command       EntryType = iota // made by EncodeGroup or EncodeIdentity
	Configuration                  // opaque: kept, and handed back with the position
)

// Outcome is what became of one transaction.
type Outcome struct {
	Receipt core.Receipt
	Err     error // a *core.Error; CodeConflict for a failed precondition
}

// A command's first byte says what follows. A machine that finds another byte stops instead of
// skipping: the cluster is then newer than this node, and to go on would make it differ.
const (
	commandGroup    = 1 // any number of: length (uvarint), record
	commandIdentity = 2 // Identity as JSON
)

// GroupOverhead bounds what EncodeGroup adds per record.
const GroupOverhead = binary.MaxVarintLen32

// EncodeGroup makes a command of records, which are applied in order.
func EncodeGroup(records [][]byte) []byte {
	size := 1
	for _, record := range records {
		size += len(record) + GroupOverhead
	}
	data := append(make([]byte, 0, size), commandGroup)
	for _, record := range records {
		data = binary.AppendUvarint(data, uint64(len(record)))
		data = append(data, record...)
	}
	return data
}

// EncodeIdentity makes the command that gives a new cluster its identity.
func EncodeIdentity(identity Identity) ([]byte, error) {
	data, err := json.Marshal(identity)
	return append([]byte{commandIdentity}, data...), err
}

// decodeGroup calls yield for each record of a group without its first byte.
func decodeGroup(data []byte, yield func(record []byte) error) error {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return damaged("a group of records is cut off")
		}
		if err := yield(data[n : n+int(size)]); err != nil { //nolint:gosec // not over len(data)
			return err
		}
		data = data[n+int(size):] //nolint:gosec // not over len(data)
	}
	return nil
}
