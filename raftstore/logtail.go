package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"
)

// The layout of a file of raft-wal 0.4, numbers in little-endian: a header; then frames, each with a head
// of 8 bytes (type, three zeros, length) and padded to 8. Every write to the file ends in a frame of type
// commit, with the CRC-32C of the write in place of the length. Behind the last write there are zeros.
const (
	walMagic       = 0x58eb6b0d
	walHeaderBytes = 32
	frameBytes     = 8

	entryFrame  = 1
	indexFrame  = 2 // offsets of all entries, 4 bytes each; in the last write to a file
	commitFrame = 3

	// sectorBytes is the smallest piece that a disk writes whole or not at all.
	sectorBytes = 512
)

// logTail is the newest file of Raft's log, as a crash or a fault may have left it.
//
// raft-wal looks at the last write only, takes it for one that a crash has cut short if its sum is wrong,
// and overwrites it. But what was acknowledged may be in that write, with one bit wrong, or in earlier
// ones that it does not look at. Two things tell damage from a write that was cut short. A write is begun
// when the one before is synced: so nothing whole comes after one that was cut short. And of one that was
// cut short, whole sectors are missing and read as zeros (the file is allocated in advance, and tidied up
// at every start); where no sector is missing everything must be right.
type logTail struct {
	info    types.SegmentInfo
	data    []byte
	entries int // in whole writes
	end     int // of the last whole write; 0: there is none
	used    int // behind it there are only zeros
}

func scanTail(info types.SegmentInfo, data []byte) *logTail {
	t := &logTail{info: info, data: data, used: len(bytes.TrimRight(data, "\x00"))}
	t.used = min(padded(t.used), len(data))
	for {
		end, entries, ok := t.write(t.end)
		if !ok {
			return t
		}
		t.end, t.entries = end, t.entries+entries
	}
}

func padded(n int) int { return (n + frameBytes - 1) / frameBytes * frameBytes }

// frame reads the head of a frame; type 0 if there is none.
func (t *logTail) frame(at int) (kind byte, number uint32) {
	if at+frameBytes > len(t.data) || t.data[at+1]|t.data[at+2]|t.data[at+3] != 0 {
		return 0, 0
	}
	return t.data[at], binary.LittleEndian.Uint32(t.data[at+4:])
}

// write reads one whole write, as far as its sum proves that it is one.
func (t *logTail) write(begin int) (end, entries int, ok bool) {
	at := begin
	if begin == 0 {
		at = walHeaderBytes
	}
	for {
		kind, number := t.frame(at)
		switch kind {
		case entryFrame, indexFrame:
			if kind == entryFrame {
				entries++
			}
			at += frameBytes + padded(int(number))
		case commitFrame:
			return at + frameBytes, entries, crc32.Checksum(t.data[begin:at], castagnoli) == number
		default:
			return 0, 0, false
		}
	}
}

// judge explains what is behind the last whole write: nil if a crash can have left it, otherwise an error
// that says why not. thorough is false for a file that was in the hands of an instard which did not tidy up.
func (t *logTail) judge(thorough bool) error {
	for at := t.end + frameBytes; at < t.used; at += frameBytes {
		if end, _, ok := t.write(at); ok {
			return fmt.Errorf("the bytes from %d to %d are damaged: a later write to the file, which ends at %d, is whole", t.end, at, end)
		}
	}
	if !thorough || t.used <= t.end {
		return nil
	}
	at, err := t.judgeWrite()
	if err != nil {
		return fmt.Errorf("the write from byte %d on is damaged at byte %d: %w; it was not cut short, all of its sectors are there", t.end, at, err)
	}
	return nil
}

// judgeWrite goes through the write behind the last whole one, up to the first sector that is missing.
func (t *logTail) judgeWrite() (at int, err error) {
	at = t.end
	if at == 0 {
		if t.missing(0, walHeaderBytes) {
			return 0, nil
		}
		if !bytes.Equal(t.data[:walHeaderBytes], t.header()) {
			return 0, fmt.Errorf("the header is not that of file %d", t.info.ID)
		}
		at = walHeaderBytes
	}
	for entries := t.entries; ; {
		if t.missing(at, at+frameBytes) {
			return at, nil
		}
		kind, number := t.frame(at)
		next := at + frameBytes + padded(int(number))
		switch kind {
		case entryFrame:
			cut, err := t.judgeEntry(at+frameBytes, int(number), t.info.BaseIndex+uint64(entries)) //nolint:gosec // a count
			if cut || err != nil {
				return at, err
			}
			entries++
		case indexFrame:
			if int(number) != 4*entries {
				return at, fmt.Errorf("an index of %d bytes for %d entries", number, entries)
			}
			if t.missing(at, next) {
				return at, nil
			}
		case commitFrame:
			return at, fmt.Errorf("the checksum %08x is wrong", number)
		default:
			return at, fmt.Errorf("there is no frame of type %d", t.data[at])
		}
		at = next
	}
}

// entryHead is the most that stands before an entry's data: index, term, type, size.
const entryHead = 4 * binary.MaxVarintLen64

// judgeEntry checks an entry of size bytes, and tells whether sectors of it are missing. Its size is
// known twice, so a wrong one does not make it look cut short.
func (t *logTail) judgeEntry(at, size int, index uint64) (cut bool, err error) {
	if t.missing(at, at+min(size, entryHead)) {
		return true, nil
	}
	head := t.data[at:min(at+min(size, entryHead), len(t.data))]
	var numbers [4]uint64
	length := 0
	for i := range numbers {
		number, n := binary.Uvarint(head[length:])
		if n <= 0 {
			return false, fmt.Errorf("entry %d has no head", index)
		}
		numbers[i] = number
		length += n
	}
	const times = 15 // bytes of a time; 16 where the zone has seconds
	rest := size - length - 1 - sumSize - times
	if numbers[0] != index || rest < 0 || numbers[3] != uint64(rest) && numbers[3]+1 != uint64(rest) {
		return false, fmt.Errorf("entry %d says that it is %d with %d bytes in a frame of %d", index, numbers[0], numbers[3], size)
	}
	if t.missing(at, at+size) {
		return true, nil
	}
	var entry raft.Log
	err = (&wal.BinaryCodec{}).Decode(t.data[at:at+size], &entry)
	if err == nil {
		err = checkSum(&entry)
	}
	if err != nil {
		return false, fmt.Errorf("entry %d: %w", index, err)
	}
	return false, nil
}

// missing reports whether a sector that has some of these bytes reads as zeros, from the last whole write
// on, or is behind the end of the file.
func (t *logTail) missing(begin, end int) bool {
	if end > len(t.data) {
		return true
	}
	for sector := begin / sectorBytes * sectorBytes; sector < end; sector += sectorBytes {
		part := t.data[max(sector, t.end):min(sector+sectorBytes, len(t.data))]
		if len(bytes.TrimLeft(part, "\x00")) == 0 {
			return true
		}
	}
	return false
}

func (t *logTail) header() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, walHeaderBytes), walMagic)
	for _, n := range []uint64{t.info.BaseIndex, t.info.ID, t.info.Codec} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}
