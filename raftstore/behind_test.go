package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// TestStateCatchesUp opens what a kill has left: the state lacks the newest records, the log has them.
func TestStateCatchesUp(t *testing.T) {
	files, records := unflushed(t)
	dir := t.TempDir()
	writeFiles(t, dir, files)
	if seq := stateSeq(t, dir); seq >= uint64(len(records)) {
		t.Fatalf("the state is at %d already", seq)
	}
	s := openStore(t, Config{Dir: dir, segmentBytes: corruptSegment, FSM: fsm.Options{FlushEvery: time.Hour}})
	if s.Seq() != uint64(len(records)) {
		t.Fatalf("at %d, want %d", s.Seq(), len(records))
	}
	for i, want := range records {
		got, err := s.Record(t.Context(), uint64(i+1)) //nolint:gosec // small
		if err != nil || !bytes.Equal(got.Raw, want.Raw) {
			t.Fatalf("record %d: %v, %v", i+1, got, err)
		}
	}
	if again := write(t, s, "1-29", "another value"); !again.Replayed || again.Seq != uint64(len(records)) {
		t.Errorf("a repeated request gave %+v", again)
	}
	snapshot, info := takeSnapshot(t, s)
	if info.Head.Size != uint64(len(records)) || len(snapshot) == 0 {
		t.Errorf("a snapshot has %+v", info.Head)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNewestStatePageIsDamaged takes the state back by one flush, as bbolt does when one of its two first
// pages is damaged. The log, which is cut all the time, must reach back as far.
func TestNewestStatePageIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir, tune: smallLogs, segmentBytes: clusterSegment, FSM: fsm.Options{FlushEvery: 50 * time.Millisecond}})
	for i := 0; i < 200 || s.Stats().LogFirst < 50; i++ {
		write(t, s, fmt.Sprint(i), strings.Repeat("x", 200))
	}
	want := s.Seq()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	newest := 0
	if txid := func(i int) uint64 { return binary.NativeEndian.Uint64(data[i*page+16+48:]) }; txid(1) > txid(0) {
		newest = 1
	}
	data[newest*page+16+16] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("the state is at %d of %d", stateSeq(t, dir), want)
	s = openStore(t, Config{Dir: dir, segmentBytes: clusterSegment})
	if s.Seq() != want {
		t.Fatalf("at %d, want %d", s.Seq(), want)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLogOfAnEarlierVersion opens a log whose file has, behind its last write, what an earlier version has
// left there of a write that was cut short: the state of such a directory is never behind.
func TestLogOfAnEarlierVersion(t *testing.T) {
	w := writeLogs(t)[0]
	rest, end := writtenAgain(w)
	for end+len(rest) > len(w.files[w.name]) { // cut off by the end of the file it would be a write cut short
		w = writeLogs(t)[0]
		rest, end = writtenAgain(w)
	}
	rest[len(rest)-1] ^= 1 // of the sum at its end: no write of it is whole
	for i := len(w.ends) - 2; i >= 0; i-- {
		rest[max(0, w.ends[i]-w.ends[0]-1)] ^= 1
	}
	copy(w.files[w.name][end:], rest)
	if _, err := lastOf(t, w.files); core.CodeOf(err) != core.CodeCorrupt {
		t.Fatalf("a version that tidies up has left this? %v", err)
	}
	meta := metaOf(t, w.files)
	delete(meta.Stable, tailKey)
	encoded, err := meta.encode()
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(w.files)
	files[filepath.Join(raftDir, metaFile)] = encoded
	if last, err := lastOf(t, files); err != nil || last != w.newest[len(w.newest)-1] {
		t.Fatalf("opened with %d entries, %v; want %d", last, err, w.newest[len(w.newest)-1])
	}
}

// writtenAgain gives what the writes but the first have put into the newest file, and where they end.
func writtenAgain(w *writtenLog) (rest []byte, end int) {
	end = w.ends[len(w.ends)-1]
	return bytes.Clone(w.files[w.name][w.ends[0]:end]), end
}

func metaOf(t *testing.T, files map[string][]byte) metaContent {
	t.Helper()
	path := filepath.Join(t.TempDir(), metaFile)
	if err := os.WriteFile(path, files[filepath.Join(raftDir, metaFile)], 0o600); err != nil {
		t.Fatal(err)
	}
	meta, err := openLogMeta(path, false)
	if err != nil {
		t.Fatal(err)
	}
	return meta.content
}
