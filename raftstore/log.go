package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// segmentBytes is the size of one file of Raft's log. It is allocated at once, so it is the least that a
// data directory takes.
const segmentBytes = 16 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("the checksum is wrong")

// sumSize is what an entry's checksum takes at the end of its extensions.
const sumSize = 4

// entrySum is over all of an entry but the time, which nobody relies on. raft-wal checks its own sums at
// the log's end only, so a bit that flips in an older entry would be applied as it is. (A codec of our
// own would be the place for this, but raft-wal 0.4.2 does not open again what it wrote with one.)
func entrySum(l *raft.Log, extensions []byte) uint32 {
	head := binary.BigEndian.AppendUint64(make([]byte, 0, 25), l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	head = binary.BigEndian.AppendUint64(append(head, byte(l.Type)), uint64(len(l.Data)))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, l.Data)
	return crc32.Update(sum, castagnoli, extensions)
}

// withSum gives a copy of an entry with its checksum, as it is stored.
func withSum(entry *raft.Log) raft.Log {
	sealed := *entry
	extensions := append(make([]byte, 0, len(entry.Extensions)+sumSize), entry.Extensions...)
	sealed.Extensions = binary.BigEndian.AppendUint32(extensions, entrySum(entry, entry.Extensions))
	return sealed
}

// durableLog is Raft's log and stable store as Raft sees them. A write that fails, or hangs, stops the
// store for good: what is on the disk is not known then, and a leader that cannot write would keep its
// followers from electing another.
type durableLog struct {
	*wal.WAL
	meta  *logMeta
	stall time.Duration
	fail  func(error)
	keep  func() uint64 // entries behind it are not dropped from the log's beginning; nil: all may be
	down  atomic.Bool
}

var errLogDown = errors.New("an earlier write to the log failed")

// StoreLog implements raft.LogStore.
func (l *durableLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *durableLog) StoreLogs(entries []*raft.Log) error {
	if l.down.Load() {
		return errLogDown
	}
	sealed := make([]raft.Log, len(entries))
	pointers := make([]*raft.Log, len(entries))
	for i, entry := range entries {
		sealed[i] = withSum(entry)
		pointers[i] = &sealed[i]
	}
	return l.watch("append to the log", func() error {
		if err := l.WAL.StoreLogs(pointers); err != nil || len(entries) == 0 {
			return err
		}
		return l.meta.noteBegun(entries[0].Index)
	})
}

// GetLog implements raft.LogStore.
func (l *durableLog) GetLog(index uint64, entry *raft.Log) error {
	if err := l.WAL.GetLog(index, entry); err != nil {
		return err
	}
	if entry.Index != index {
		return errChecksum
	}
	return checkSum(entry)
}

// checkSum checks an entry as it is stored, and takes the checksum off it.
func checkSum(entry *raft.Log) error {
	cut := len(entry.Extensions) - sumSize
	if cut < 0 || entrySum(entry, entry.Extensions[:cut]) != binary.BigEndian.Uint32(entry.Extensions[cut:]) {
		return errChecksum
	}
	if entry.Extensions = entry.Extensions[:cut]; cut == 0 {
		entry.Extensions = nil
	}
	return nil
}

// DeleteRange implements raft.LogStore. Of the log's beginning it leaves what the state needs if its newest
// write turns out to be damaged at the next start, however much of it Raft believes to be in a snapshot.
func (l *durableLog) DeleteRange(first, last uint64) error {
	if l.down.Load() {
		return errLogDown
	}
	if end, err := l.LastIndex(); err == nil && l.keep != nil && last < end {
		if last = min(last, l.keep()); last < first {
			return nil
		}
	}
	return l.watch("cut the log", func() error { return l.WAL.DeleteRange(first, last) })
}

func (l *durableLog) watch(what string, write func() error) error {
	timer := time.AfterFunc(l.stall, func() {
		l.down.Store(true)
		l.fail(fmt.Errorf("%s: the disk has not answered for %s", what, l.stall))
	})
	defer timer.Stop()
	if err := write(); err != nil {
		l.down.Store(true)
		err = fmt.Errorf("%s: %w", what, err)
		l.fail(err)
		return err
	}
	if l.down.Load() {
		return errLogDown
	}
	return nil
}

// Set implements raft.StableStore. Raft answers an error here with a panic of its main goroutine; ending
// just that goroutine instead leaves the process to stop in order (Store.Failed).
func (l *durableLog) Set(key, value []byte) error {
	if l.down.Load() || l.watch("write the term or vote", func() error { return l.WAL.Set(key, value) }) != nil {
		runtime.Goexit()
	}
	return nil
}

// SetUint64 implements raft.StableStore.
func (l *durableLog) SetUint64(key []byte, value uint64) error {
	return l.Set(key, binary.LittleEndian.AppendUint64(nil, value)) // as GetUint64 reads it
}
