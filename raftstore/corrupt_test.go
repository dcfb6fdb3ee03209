package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

const corruptSegment = 32 << 10

// damagedDir makes a data directory with some history and several log files, and returns its files and
// the records that must never get lost.
func damagedDir(t *testing.T) (files map[string][]byte, records []core.Record) {
	t.Helper()
	dir := t.TempDir()
	for range 2 {
		s := openStore(t, Config{Dir: dir, segmentBytes: corruptSegment})
		for i := range 40 {
			if _, err := s.Propose(t.Context(), writeTxn(fmt.Sprint(s.Seq(), "-", i), strings.Repeat("v", i*40))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, Config{Dir: dir, segmentBytes: corruptSegment})
	records, _, err := s.machine.Records(0, 1000, 1<<30)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	files = readFiles(t, dir)
	return files, records
}

func writeFiles(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, raftDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// copyFiles makes dir a copy of what writeFiles has written to whole. The kernel does it: of all that these
// tests do, writing the same files again and again was most, under the race detector.
func copyFiles(t *testing.T, dir, whole string, files map[string][]byte) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, raftDir), 0o700)); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(whole, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close(), in.Close())
}

// patch changes one byte of a file.
func patch(t *testing.T, path string, at int, to byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt([]byte{to}, int64(at))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// load opens all files as Open does, applies what the log has beyond the state, and returns the records.
func load(dir string) (records []core.Record, err error) {
	config := Config{Dir: dir, Node: "n1", segmentBytes: corruptSegment}
	if err := config.complete(); err != nil {
		return nil, err
	}
	d, err := openDir(dir, "n1")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	machine, err := fsm.Open(d.file(stateFile), config.FSM)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	log, err := openCheckedLog(d, machine.Position(), &config, func(error) {})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	last, err := log.LastIndex()
	if err != nil {
		return nil, err
	}
	a := &adapter{machine: machine, fail: func(error) {}}
	for index := machine.Position().RaftIndex + 1; index <= last; index++ {
		var entry raft.Log
		if err := log.GetLog(index, &entry); err != nil {
			return nil, err
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			if r := a.Apply(&entry).(response); r.err != nil {
				return nil, r.err
			}
		}
	}
	records, _, err = machine.Records(0, 1000, 1<<30)
	return records, err
}

// wantLoud accepts two ends: everything is there, or an error that says corrupt, names a file and a way
// out.
func wantLoud(t *testing.T, dir, what string, want []core.Record) (refused bool) {
	t.Helper()
	got, err := load(dir)
	if err != nil {
		e, ok := core.AsError(err)
		if !ok || e.Code != core.CodeCorrupt && e.Code != core.CodeUnsupported || !strings.Contains(err.Error(), dir) || e.Hint == "" {
			t.Errorf("%s: error %q (code %q, hint %q)", what, err, core.CodeOf(err), hintOf(err))
		}
		return true
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d of %d records are left, without an error", what, len(got), len(want))
		return false
	}
	for i := range got {
		if !bytes.Equal(got[i].Raw, want[i].Raw) {
			t.Errorf("%s: record %d has changed, without an error", what, i+1)
		}
	}
	return false
}

func hintOf(err error) string {
	if e, ok := core.AsError(err); ok {
		return e.Hint
	}
	return ""
}

func TestFlippedBitsAreFound(t *testing.T) {
	files, records := damagedDir(t)
	damage(t, files, records)
}

// damage flips bits in each of the files.
func damage(t *testing.T, files map[string][]byte, records []core.Record) {
	t.Helper()
	whole := t.TempDir()
	writeFiles(t, whole, files)
	for name, data := range files {
		used := len(bytes.TrimRight(data, "\x00"))
		if used == 0 {
			continue // the lock; a log file that has been made but not begun
		}
		t.Run(name, func(t *testing.T) {
			refused, flips := 0, 40
			if name == stateFile {
				flips = 150 // it is the largest, and has a structure
			}
			dir := filepath.Join(t.TempDir(), "data")
			for i := range flips {
				at, bit := rand.IntN(used), rand.IntN(8)
				if name == stateFile && i%2 == 0 { // where a page says what it is and where its keys are
					at = min(at/4096*4096+rand.IntN(80), used-1)
				}
				copyFiles(t, dir, whole, files)
				patch(t, filepath.Join(dir, name), at, data[at]^1<<bit)
				if wantLoud(t, dir, fmt.Sprintf("bit %d of byte %d of %s", bit, at, name), records) {
					refused++
				}
			}
			t.Logf("%d of %d flips in %d bytes were refused, the others hit nothing that is in use", refused, flips, used)
			if refused == 0 {
				t.Error("not one flip was found")
			}
		})
	}
}

func TestCutFilesAreFound(t *testing.T) {
	files, records := damagedDir(t)
	whole := t.TempDir()
	writeFiles(t, whole, files)
	for name, data := range files {
		if len(data) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			used := len(bytes.TrimRight(data, "\x00"))
			sizes := []int{0, 1, 100, 4096, 8192, used / 3, used / 2, used - 100, used - 1, used, len(data) - 1}
			for _, size := range append(sizes, -1) {
				if size >= len(data) || size < -1 {
					continue
				}
				copyFiles(t, dir, whole, files)
				path := filepath.Join(dir, name)
				cut := func() error { return os.Truncate(path, int64(size)) }
				if size < 0 {
					cut = func() error { return os.Remove(path) }
				}
				if err := cut(); err != nil {
					t.Fatal(err)
				}
				wantLoud(t, dir, fmt.Sprintf("%s cut to %d of %d bytes (-1: removed)", name, size, len(data)), records)
			}
		})
	}
}

// TestOpenReportsDamage is one damage of each kind through Open, as an operator meets it.
func TestOpenReportsDamage(t *testing.T) {
	files, records := damagedDir(t)
	// A value in the middle of the history, wherever a file has it.
	garbled := func(name string) []byte {
		return bytes.ReplaceAll(files[name], records[40].Raw, make([]byte, len(records[40].Raw)))
	}
	for _, name := range []string{nodeFile, stateFile, raftDir + "/" + metaFile, raftDir + "/00000000000000000043-0000000000000001.wal"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, files)
			bad := garbled(name)
			if strings.HasSuffix(name, ".json") {
				bad = bytes.Replace(files[name], []byte(`"format":1`), []byte(`"format":0`), 1)
			}
			if bytes.Equal(bad, files[name]) {
				t.Fatal("nothing was damaged")
			}
			writeFiles(t, dir, map[string][]byte{name: bad})
			s, err := Open(t.Context(), Config{Dir: dir, Node: "n1", segmentBytes: corruptSegment})
			if err == nil {
				t.Fatal(errors.Join(errors.New("opened"), s.Close()))
			}
			t.Logf("%v\nhint: %s", err, hintOf(err))
			if core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), filepath.Join(dir, strings.Split(name, "/")[0])) || hintOf(err) == "" {
				t.Fatalf("error %q, code %q, hint %q", err, core.CodeOf(err), hintOf(err))
			}
		})
	}
}
