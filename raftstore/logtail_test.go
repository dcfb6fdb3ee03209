package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// writtenLog is a log that was written and never closed: files of one process that has ended, as its
// disk has them.
type writtenLog struct {
	files  map[string][]byte
	limit  int      // of its size
	name   string   // of the newest file
	ends   []int    // of the writes to the newest file
	newest []uint64 // newest entry after each write
}

// writeLogs writes some logs, each of which ends in a file that is not full yet.
func writeLogs(t *testing.T) (logs []*writtenLog) {
	t.Helper()
	for len(logs) < 8 {
		if w := writeLog(t); w != nil {
			logs = append(logs, w)
		}
	}
	return logs
}

func writeLog(t *testing.T) *writtenLog {
	t.Helper()
	d, err := openDir(t.TempDir(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	log := openTestLog(t, d)
	if err := log.SetUint64([]byte(currentTerm), 3); err != nil {
		t.Fatal(err)
	}
	w := &writtenLog{}
	next := uint64(1)
	for range 1 + rand.IntN(8) {
		var entries []*raft.Log
		for range 1 + rand.IntN(3) {
			size := []int{0, 1, 40, 470, 500, 1000, 1700}[rand.IntN(7)]
			data := bytes.Repeat([]byte("data "), size/5+1)[:size]
			entries = append(entries, &raft.Log{Index: next, Term: 3, Data: data, AppendedAt: time.Now()})
			next++
		}
		w.newest = append(w.newest, next-1)
		if err := log.StoreLogs(entries); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil { // it has nothing to write
		t.Fatal(err)
	}
	w.files = readFiles(t, d.path)
	meta, err := openLogMeta(d.file(raftDir+"/"+metaFile), false)
	if err != nil {
		t.Fatal(err)
	}
	info, ok := meta.openSegment()
	if !ok {
		t.Fatal("there is no file that is written to")
	}
	w.name = filepath.Join(raftDir, segment.FileName(info))
	w.limit = int(info.SizeLimit)
	scan := scanTail(info, w.files[w.name])
	for at := 0; at < scan.end; {
		end, _, ok := scan.write(at)
		if !ok {
			t.Fatalf("no write at %d of %d", at, scan.end)
		}
		at = end
		w.ends = append(w.ends, end)
	}
	if scan.used > scan.end {
		t.Fatalf("%d bytes behind the last write", scan.used-scan.end)
	}
	if len(w.ends) < 2 {
		return nil
	}
	return w
}

// drawLog gives a copy of one of the logs.
func drawLog(r *rapid.T, logs []*writtenLog) *writtenLog {
	w := *rapid.SampledFrom(logs).Draw(r, "log")
	w.files = maps.Clone(w.files)
	w.files[w.name] = bytes.Clone(w.files[w.name])
	return &w
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// lastOf opens the files and gives the newest entry.
func lastOf(t *testing.T, files map[string][]byte) (uint64, error) {
	t.Helper()
	path := t.TempDir()
	writeFiles(t, path, files)
	return lastIn(t, path)
}

func lastIn(t *testing.T, path string) (last uint64, err error) {
	t.Helper()
	d, err := openDir(path, "n1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	config := Config{Dir: path, Node: "n1", segmentBytes: 4 << 10}
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	log, err := openCheckedLog(d, fsm.Position{}, &config, func(err error) { t.Error(err) })
	if err != nil {
		return 0, err
	}
	last, err = log.LastIndex()
	return last, errors.Join(err, log.Close())
}

// TestFlippedBitsInTheLogAreNotTornWrites flips any bit of what the newest file has: all of that was
// acknowledged, and no state knows of it.
func TestFlippedBitsInTheLogAreNotTornWrites(t *testing.T) {
	logs := writeLogs(t)
	rapid.Check(t, func(r *rapid.T) {
		w := drawLog(r, logs)
		used := w.ends[len(w.ends)-1]
		at := rapid.IntRange(0, used-1).Draw(r, "byte")
		if rapid.Bool().Draw(r, "in the last write") {
			at = rapid.IntRange(w.ends[len(w.ends)-2], used-1).Draw(r, "byte of the last write")
		}
		w.files[w.name][at] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		last, err := lastOf(t, w.files)
		if core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), filepath.Base(w.name)) {
			r.Fatalf("opened with %d entries, %v", last, err)
		}
	})
}

// TestTornWrites leaves any of the sectors of the last write unwritten, as a power cut may: the log opens
// without that write, goes on, and opens again.
func TestTornWrites(t *testing.T) {
	logs := writeLogs(t)
	rapid.Check(t, func(r *rapid.T) {
		w := drawLog(r, logs)
		n := len(w.ends)
		data, begin, end := w.files[w.name], w.ends[n-2], w.ends[n-1]
		whole := bytes.Clone(data)
		for sector := begin / sectorBytes * sectorBytes; sector < end; sector += sectorBytes {
			if rapid.Bool().Draw(r, "missing") {
				clear(data[max(begin, sector):min(sector+sectorBytes, end)])
			}
		}
		writes := len(w.newest)
		want := w.newest[writes-2]
		if bytes.Equal(data, whole) {
			want = w.newest[writes-1]
		}
		path := t.TempDir()
		writeFiles(t, path, w.files)
		for range 2 {
			last, err := lastIn(t, path)
			if err != nil || last != want {
				r.Fatalf("opened with %d entries, %v; want %d", last, err, want)
			}
			d, err := openDir(path, "n1")
			if err != nil {
				r.Fatal(err)
			}
			log := openTestLog(t, d)
			want++
			entry := &raft.Log{Index: want, Term: 3, Data: []byte("after")}
			if err := errors.Join(log.StoreLog(entry), log.Close(), d.close()); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// TestNewestFileIsGone removes, or empties, the file of the log that was written to last.
func TestNewestFileIsGone(t *testing.T) {
	logs := writeLogs(t)
	rapid.Check(t, func(r *rapid.T) {
		w := drawLog(r, logs)
		size := rapid.SampledFrom([]int{-1, 0, 8, w.ends[0] - 1, w.ends[0], w.limit - 1}).Draw(r, "size")
		// Beyond the limit it may be a write that a crash has cut short: only the last one goes there.
		if size = min(size, w.limit-1); size < 0 {
			delete(w.files, w.name)
		} else {
			w.files[w.name] = w.files[w.name][:size]
		}
		if last, err := lastOf(t, w.files); core.CodeOf(err) != core.CodeCorrupt {
			r.Fatalf("cut to %d bytes: opened with %d entries, %v", size, last, err)
		}
	})
}

// unflushed makes a directory whose state file lacks what was written last, as after a kill.
func unflushed(t *testing.T) (files map[string][]byte, records []core.Record) {
	t.Helper()
	dir := t.TempDir()
	for run := range 2 {
		s := openStore(t, Config{Dir: dir, segmentBytes: corruptSegment, FSM: fsm.Options{FlushEvery: time.Hour}})
		for i := range 30 {
			write(t, s, fmt.Sprint(run, "-", i), strings.Repeat("v", i*40))
		}
		if run == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if stats := s.Stats(); stats.Durable+30 > stats.Applied {
			t.Fatalf("the state was flushed: %+v", stats)
		}
		files = readFiles(t, dir)
		var err error
		if records, _, err = s.machine.Records(0, 1000, 1<<30); err != nil || len(records) != 60 {
			t.Fatalf("%d records, %v", len(records), err)
		}
	}
	return files, records
}

// TestDamageAfterAKill damages the files that a killed process has left, whose state is behind the log.
func TestDamageAfterAKill(t *testing.T) {
	files, records := unflushed(t)
	dir := filepath.Join(t.TempDir(), "data")
	writeFiles(t, dir, files)
	if wantLoud(t, dir, "nothing", records) {
		t.Fatal("undamaged files were refused")
	}
	damage(t, files, records)
}
