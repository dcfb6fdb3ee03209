package raftstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// openCheckedLog opens Raft's log and makes sure that it and the state fit together: entries that the
// state has applied may be gone from the log's beginning, never from its end. raft-wal takes a damaged
// end for a write that a crash has cut short, and drops it without a word; the state may know better, but
// it is a little behind; hence tidyTail.
func openCheckedLog(d *dir, position fsm.Position, config *Config, fail func(error)) (log *durableLog, err error) {
	path := d.file(raftDir)
	damaged := func(format string, args ...any) error {
		return core.Errorf(core.CodeCorrupt, "%s is damaged: %w", path, fmt.Errorf(format, args...)).WithHint(restoreHint)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			log, err = nil, damaged("%v", p)
		}
	}()
	meta, err := openLogMeta(filepath.Join(path, metaFile), position.RaftIndex == 0)
	if err != nil {
		return nil, err
	}
	switch err := tidyTail(path, meta); {
	case core.CodeOf(err) == core.CodeCorrupt:
		return nil, damaged("%w", err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := finishTail(path, meta, config.segmentBytes); err != nil {
		return nil, damaged("%w", err)
	}
	files, err := wal.Open(path, wal.WithMetaStore(meta), wal.WithSegmentSize(config.segmentBytes), wal.WithLogger(config.Logger.Named("wal")))
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		return nil, damaged("%w", err)
	}
	log = &durableLog{WAL: files, meta: meta, stall: config.DiskStall, fail: fail}
	if err := checkLog(log, position); err != nil {
		return nil, errors.Join(damaged("%w", err), log.Close())
	}
	return log, checkTerm(log, position, path)
}

// checkLog reads every entry.
func checkLog(log *durableLog, position fsm.Position) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	var entry raft.Log
	previous := uint64(0)
	agrees := true // about the term of the newest applied entry
	for index := first; last > 0 && index <= last; index++ {
		if err := log.GetLog(index, &entry); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if entry.Index != index || entry.Term < previous {
			return fmt.Errorf("entry %d says that it is %d of term %d, after one of term %d", index, entry.Index, entry.Term, previous)
		}
		previous = entry.Term
		if index == position.RaftIndex && entry.Term != position.RaftTerm {
			agrees = false
		}
	}
	installed := position.RaftIndex > 0 && position.Installed == position.RaftIndex
	switch {
	case last < position.RaftIndex || !agrees:
		if !installed {
			return fmt.Errorf("the log ends at entry %d, but entry %d of term %d has been applied: its end is missing", last, position.RaftIndex, position.RaftTerm)
		}
		// A crash after a restore, before Raft could drop the log that the restore has made void.
		if last > 0 {
			return log.DeleteRange(first, last)
		}
	case first > position.RaftIndex+1:
		return fmt.Errorf("the log begins at entry %d, but the state in %s ends at %d: either was replaced", first, stateFile, position.RaftIndex)
	}
	return nil
}

// checkTerm compares the term that Raft has stored with the log's.
func checkTerm(log *durableLog, position fsm.Position, path string) error {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeCorrupt, "%s is damaged: %w", filepath.Join(path, metaFile), fmt.Errorf(format, args...)).WithHint(restoreHint)
	}
	term, err := log.GetUint64([]byte(currentTerm))
	if err != nil {
		return bad("%w", err)
	}
	newest := position.RaftTerm
	if last, err := log.LastIndex(); err == nil && last > 0 {
		var entry raft.Log
		if err := log.GetLog(last, &entry); err != nil {
			return bad("%w", err)
		}
		newest = max(newest, entry.Term)
	}
	if term < newest {
		return bad("the current term is %d, but there are entries of term %d", term, newest)
	}
	return nil
}
