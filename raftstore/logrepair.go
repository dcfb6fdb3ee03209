package raftstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// finishTail repairs what raft-wal 0.4.2 leaves behind when the process ends between the last write to a
// full file and the note that the next file has begun. Opened like that it takes the file for sealed,
// and fails every later write; it does so as well if that last write is torn and taken back. The
// entries of such a file are copied to a new one, which then takes its place in the bookkeeping.
func finishTail(dir string, meta *logMeta, segmentBytes int) error {
	state, err := meta.Load(dir)
	if err != nil || len(state.Segments) == 0 {
		return err
	}
	last := len(state.Segments) - 1
	tail := state.Segments[last]
	if !tail.SealTime.IsZero() {
		return nil
	}
	filer := segment.NewFiler(dir, walfs.New())
	old, err := filer.RecoverTail(tail)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not begun yet: raft-wal makes it
	}
	if err != nil {
		return err
	}
	if sealed, _, err := old.Sealed(); err != nil || !sealed {
		return errors.Join(err, old.Close())
	}
	entries, size, err := readSegment(old, tail.MinIndex)
	if err := errors.Join(err, old.Close()); err != nil {
		return fmt.Errorf("read the log file %s: %w", segment.FileName(tail), err)
	}
	fresh := tail
	fresh.ID, fresh.BaseIndex, fresh.CreateTime = state.NextSegmentID, tail.MinIndex, time.Now()
	fresh.SizeLimit = uint32(size + segmentBytes) //nolint:gosec // a file's size; with room, so that it is not full at once
	if err := writeSegment(filer, fresh, entries); err != nil {
		return fmt.Errorf("finish the log file %s: %w", segment.FileName(tail), err)
	}
	state.NextSegmentID++
	state.Segments = append(state.Segments[:last:last], fresh)
	if err := meta.CommitState(state); err != nil { // raft-wal removes files that are not mentioned
		return err
	}
	return meta.noteBegun(tail.MinIndex)
}

func readSegment(from types.SegmentReader, first uint64) (entries []types.LogEntry, size int, err error) {
	const frame = 16 // what the file needs for an entry beside its bytes, at most
	for index := first; ; index++ {
		buffer, err := from.GetLog(index)
		if errors.Is(err, types.ErrNotFound) {
			return entries, size, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("entry %d: %w", index, err)
		}
		entries = append(entries, types.LogEntry{Index: index, Data: append([]byte(nil), buffer.Bs...)})
		size += len(buffer.Bs) + frame
		if err := buffer.Close(); err != nil {
			return nil, 0, err
		}
	}
}

func writeSegment(filer *segment.Filer, info types.SegmentInfo, entries []types.LogEntry) error {
	// Left by a crash just here: it is not in the bookkeeping yet.
	if err := filer.Delete(info.BaseIndex, info.ID); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := filer.Create(info)
	if err != nil {
		return err
	}
	return errors.Join(to.Append(entries), to.Close())
}
