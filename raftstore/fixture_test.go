package raftstore

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/core"
)

// fixture says what must be in a data directory that an earlier version has written.
type fixture struct {
	Node string        `json:"node"`
	Head core.TreeHead `json:"head"`
	Last core.Object   `json:"last"`
}

// TestFixtures opens a data directory, and restores a snapshot, of every format that was ever released.
// A new format gets files of its own, written with INSTAR_WRITE_FIXTURE=NAME; these are never changed.
func TestFixtures(t *testing.T) {
	if name := os.Getenv("INSTAR_WRITE_FIXTURE"); name != "" {
		writeFixture(t, filepath.Join("testdata", name))
	}
	fixtures, err := filepath.Glob("testdata/*.json")
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, path := range fixtures {
		base := path[:len(path)-len(".json")]
		t.Run(filepath.Base(base), func(t *testing.T) {
			var want fixture
			data, err := os.ReadFile(path)
			if err := errors.Join(err, json.Unmarshal(data, &want)); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			untar(t, base+".tar.gz", dir)
			s := openStore(t, Config{Dir: dir, Node: want.Node})
			checkFixture(t, s, want, 0)

			snapshot, err := os.ReadFile(base + ".snapshot.gz")
			if err != nil {
				t.Fatal(err)
			}
			unpacked, err := gzip.NewReader(bytes.NewReader(snapshot))
			if err != nil {
				t.Fatal(err)
			}
			s = openStore(t, Config{Dir: t.TempDir(), Node: want.Node})
			if _, err := s.Restore(t.Context(), unpacked, operator); err != nil {
				t.Fatal(err)
			}
			checkFixture(t, s, want, 1)
		})
	}
}

func checkFixture(t *testing.T, s *Store, want fixture, added uint64) {
	t.Helper()
	if head, err := s.HeadAt(t.Context(), want.Head.Size); err != nil || head.Root != want.Head.Root || added == 0 && head != want.Head {
		t.Errorf("head %+v, %v; want %+v", head, err, want.Head)
	}
	got, err := s.Get(t.Context(), core.KindRoute, "last", 0)
	if err != nil || got.Seq != want.Last.Seq || got.Created != want.Last.Created || !bytes.Equal(got.Value, want.Last.Value) {
		t.Errorf("object %+v, %v; want %+v", got, err, want.Last)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if receipt := write(t, s, "added", "x"); receipt.Seq != want.Head.Size+1+added {
		t.Errorf("the next write is %+v after %d", receipt, want.Head.Size)
	}
}

func untar(t *testing.T, path, dir string) {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(unpacked); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			writeFiles(t, dir, map[string][]byte{header.Name: data})
		}
	}
}

func writeFixture(t *testing.T, base string) {
	t.Helper()
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir, Cluster: "fixture", segmentBytes: 16 << 10})
	for i := range 12 {
		write(t, s, fmt.Sprint(i), "value")
		if i == 7 {
			gone := core.Txn{
				Meta: core.Meta{Principal: "p", Verb: "v"},
				Ops:  []core.Op{{Kind: core.KindService, ID: "3", Delete: true, IfSeq: core.AnySeq}},
			}
			if _, err := s.Propose(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
		}
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.Get(t.Context(), core.KindRoute, "last", 0)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _ := takeSnapshot(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var archive, packed bytes.Buffer
	zip := gzip.NewWriter(&archive)
	out := tar.NewWriter(zip)
	if err := errors.Join(out.AddFS(os.DirFS(dir)), out.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	zip = gzip.NewWriter(&packed)
	if _, err := zip.Write(snapshot); err != nil {
		t.Fatal(err)
	}
	description, err := json.MarshalIndent(fixture{Node: "n1", Head: head, Last: last}, "", "  ")
	err = errors.Join(err, zip.Close(), os.MkdirAll(filepath.Dir(base), 0o755),
		os.WriteFile(base+".tar.gz", archive.Bytes(), 0o644),
		os.WriteFile(base+".snapshot.gz", packed.Bytes(), 0o644),
		os.WriteFile(base+".json", append(description, '\n'), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}
