package raftstore

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/instarhq/instar/raftstore/fsm"
)

func openTestLog(t *testing.T, d *dir) *durableLog {
	t.Helper()
	config := Config{Dir: d.path, Node: "n1", segmentBytes: 4 << 10}
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	log, err := openCheckedLog(d, fsm.Position{}, &config, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func testEntry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Data: []byte(strings.Repeat("x", 500))}
}

// fullTail writes one log file until it is full, and leaves the bookkeeping as if the process had ended
// just then. It returns the number of entries.
func fullTail(t *testing.T, d *dir) (path string, entries uint64) {
	t.Helper()
	meta, err := openLogMeta(d.file(raftDir+"/"+metaFile), true)
	if err != nil {
		t.Fatal(err)
	}
	info := types.SegmentInfo{ID: 0, BaseIndex: 1, MinIndex: 1, Codec: wal.CodecBinaryV1, CreateTime: time.Now(), SizeLimit: 4 << 10}
	if err := meta.CommitState(types.PersistentState{NextSegmentID: 1, Segments: []types.SegmentInfo{info}}); err != nil {
		t.Fatal(err)
	}
	if err := meta.SetStable([]byte(currentTerm), []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	file, err := segment.NewFiler(d.file(raftDir), walfs.New()).Create(info)
	if err != nil {
		t.Fatal(err)
	}
	for sealed := false; !sealed; {
		entries++
		var data bytes.Buffer
		entry := withSum(testEntry(entries))
		if err := (&wal.BinaryCodec{}).Encode(&entry, &data); err != nil {
			t.Fatal(err)
		}
		if err := file.Append([]types.LogEntry{{Index: entries, Data: data.Bytes()}}); err != nil {
			t.Fatal(err)
		}
		if sealed, _, err = file.Sealed(); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(d.file(raftDir), segment.FileName(info)), entries
}

// TestFullTail opens a log whose process ended after the write that filled a file and before the next
// file had begun, with that last write whole and torn.
func TestFullTail(t *testing.T) {
	for name, torn := range map[string]bool{"whole": false, "torn": true} {
		t.Run(name, func(t *testing.T) {
			d, err := openDir(t.TempDir(), "n1")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := d.close(); err != nil {
					t.Error(err)
				}
			})
			path, want := fullTail(t, d)
			if torn {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				data[len(bytes.TrimRight(data, "\x00"))-1] ^= 0xff // in the frame that commits the write
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				want--
			}
			for round := range uint64(2) { // the second opens what the first has repaired and gone on with
				log := openTestLog(t, d)
				got, err := log.LastIndex()
				if err != nil || got != want {
					t.Fatalf("round %d: %d entries, %v; want %d", round, got, err, want)
				}
				for range 20 {
					want++
					if err := log.StoreLog(testEntry(want)); err != nil {
						t.Fatalf("round %d: entry %d: %v", round, want, err)
					}
				}
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
