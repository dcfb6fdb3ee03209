package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/instarhq/instar/core"
)

// tailKey is where the bookkeeping of the log says that an instard which tidies up has had the log since
// the last one that did not. The value is 1 + the number of the newest file that is known to have a whole
// write; 0: none.
const tailKey = "InstarTail"

func (m *logMeta) tail() (begun uint64, tidy bool, err error) {
	value, err := m.GetStable([]byte(tailKey))
	if err != nil || len(value) != 8 {
		return 0, false, err
	}
	return binary.BigEndian.Uint64(value), true, nil
}

func (m *logMeta) setTail(begun uint64) error {
	return m.SetStable([]byte(tailKey), binary.BigEndian.AppendUint64(nil, begun))
}

// noteBegun is called after every write to the log, with the first entry of it. It remembers, durably, that
// there is something in the file that has it; so a file that is gone is not one that was never begun.
func (m *logMeta) noteBegun(index uint64) error {
	m.mu.Lock()
	segments := m.content.State.Segments
	i := len(segments) - 1
	for i >= 0 && segments[i].BaseIndex > index {
		i-- // the file after the one that the write has filled
	}
	known := i < 0 || m.begun > segments[i].ID
	if !known {
		m.begun = segments[i].ID + 1
	}
	begun := m.begun
	m.mu.Unlock()
	if known {
		return nil
	}
	return m.setTail(begun)
}

// tidyTail checks the newest file of the log, before raft-wal opens it, and removes what a crash has left
// behind its last whole write. An error says what cannot be a crash's work.
func tidyTail(dir string, meta *logMeta) error {
	begun, tidy, err := meta.tail()
	if err != nil {
		return err
	}
	meta.begun = begun
	if info, ok := meta.openSegment(); ok {
		path := filepath.Join(dir, segment.FileName(info))
		if err := tidyFile(path, info, tidy, begun > info.ID); err != nil {
			return err
		}
	}
	if tidy {
		return nil
	}
	return meta.setTail(begun)
}

// openSegment gives the file that is written to; false: there is none.
func (m *logMeta) openSegment() (types.SegmentInfo, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	segments := m.content.State.Segments
	if len(segments) == 0 || !segments[len(segments)-1].SealTime.IsZero() {
		return types.SegmentInfo{}, false
	}
	return segments[len(segments)-1], true
}

func tidyFile(path string, info types.SegmentInfo, tidy, begun bool) error {
	damaged := func(format string, args ...any) error {
		return core.Errorf(core.CodeCorrupt, "%s: %w", filepath.Base(path), fmt.Errorf(format, args...))
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && begun:
		return damaged("it is missing")
	case errors.Is(err, fs.ErrNotExist):
		return nil // raft-wal makes it
	case err != nil:
		return err
	}
	t := scanTail(info, data)
	if err := t.judge(tidy); err != nil {
		return damaged("%w", err)
	}
	switch {
	case t.end == 0 && begun:
		return damaged("there is not one whole write in it, but there was one")
	case t.end == 0:
		return removeFile(path) // raft-wal makes it anew, in full size
	case tidy && len(data) < int(info.SizeLimit):
		return damaged("it is cut off: it has %d bytes and should have %d", len(data), info.SizeLimit)
	}
	return t.tidyUp(path)
}

// tidyUp overwrites what is behind the last whole write, and gives the file its full size.
func (t *logTail) tidyUp(path string) error {
	if t.used <= t.end && len(t.data) >= int(t.info.SizeLimit) {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if t.used > t.end {
		_, err = file.WriteAt(make([]byte, t.used-t.end), int64(t.end))
	}
	if err == nil && len(t.data) < int(t.info.SizeLimit) {
		err = file.Truncate(int64(t.info.SizeLimit))
	}
	return errors.Join(err, file.Sync(), file.Close())
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
