package raftstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// openCheckedLog opens Raft's log and makes sure that it and the state fit together: entries that the
// state has applied may be gone from the log's beginning, never from its end. raft-wal takes a damaged
// end for a write that a crash has cut short, and drops it without a word; the state knows better.
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
	if err := checkMeta(filepath.Join(path, metaFile), position.RaftIndex > 0); err != nil {
		return nil, err
	}
	files, err := openLog(path, config.Logger)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		return nil, damaged("%w", err)
	}
	log = &durableLog{WAL: files, stall: config.DiskStall, fail: fail}
	if err := checkLog(log, position); err != nil {
		return nil, errors.Join(damaged("%w", err), log.Close())
	}
	return log, checkTerm(log, position, path)
}

// checkMeta checks raft-wal's own database, which raft-wal would trust.
func checkMeta(path string, needed bool) error {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeCorrupt, "%s is damaged: %w", path, fmt.Errorf(format, args...)).WithHint(restoreHint)
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		if needed {
			return core.Errorf(core.CodeCorrupt, "%s is missing", path).WithHint(restoreHint)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() < int64(2*os.Getpagesize()) {
		return bad("it has only %d bytes", info.Size())
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return bad("%w", err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("it is cut off: it has %d bytes and should have %d", info.Size(), tx.Size())
		}
		var first error
		for err := range tx.Check() {
			first = errors.Join(first, err)
		}
		return first
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return bad("%w", err)
	}
	return nil
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

// checkTerm checks what Raft keeps beside its log, under keys that it does not export, and compares the
// stored term with the log's.
func checkTerm(log *durableLog, position fsm.Position, path string) error {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeCorrupt, "%s is damaged: %w", filepath.Join(path, metaFile), fmt.Errorf(format, args...)).WithHint(restoreHint)
	}
	if _, err := log.Get([]byte("LastVoteCand")); err != nil {
		return bad("%w", err)
	}
	if _, err := log.GetUint64([]byte("LastVoteTerm")); err != nil {
		return bad("%w", err)
	}
	term, err := log.GetUint64([]byte("CurrentTerm"))
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
