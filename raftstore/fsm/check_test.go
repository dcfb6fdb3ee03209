package fsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
)

// TestLargeValuesAndManyObjects opens a file with values that span many pages and buckets several
// levels deep: what the page check accepts must be all that bbolt writes.
func TestLargeValuesAndManyObjects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := openAt(t, path, Options{})
	apply(t, m, identityEntry(t))
	var records [][]byte
	for i := range 3000 {
		records = append(records, encode(t, 1, fmt.Sprint("request-", i), put(fmt.Sprintf("%s-%d", strings.Repeat("long", i%50), i), 0)))
	}
	big := core.Op{Kind: core.KindConfig, ID: "big", Value: make([]byte, core.MaxValueBytes)}
	records = append(records, encode(t, 2, "", big, put("beside", 0)))
	for i := range 1500 {
		records = append(records, encode(t, 3, "", del(fmt.Sprintf("%s-%d", strings.Repeat("long", i%50), i), core.AnySeq)))
	}
	for i := 0; i < len(records); i += 500 {
		apply(t, m, group(uint64(2+i), records[i:min(i+500, len(records))]...))
	}
	want := content(t, m)
	shut(t, m)
	for _, limit := range []int64{0, 1} { // all of it, and quickly
		m = openAt(t, path, Options{VerifyBytes: limit})
		if content(t, m) != want {
			t.Fatal("the content has changed")
		}
		verify(t, m)
		shut(t, m)
	}
}

// garble overwrites a record's value in the file, wherever it is.
func garble(t *testing.T, path string, value []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, value) {
		t.Fatalf("%q is not in the file", value)
	}
	data = bytes.ReplaceAll(data, value, bytes.Repeat([]byte("#"), len(value)))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestQuickVerification is what a large file gets at start: the newest records are hashed, older ones
// by Verify.
func TestQuickVerification(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := openAt(t, path, Options{})
	apply(t, m, identityEntry(t))
	const total = quickRecords + 1000
	for i := 0; i < total; i += 1000 {
		var records [][]byte
		for j := range 1000 {
			records = append(records, encode(t, 1, "", put(fmt.Sprintf("object-%06d!", i+j), 0)))
		}
		apply(t, m, group(uint64(2+i), records...))
	}
	shut(t, m)

	garble(t, path, []byte("value of object-000007!"))
	m = openAt(t, path, Options{VerifyBytes: 1})
	if err := m.Verify(context.Background()); core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), "record 8 ") || !strings.Contains(err.Error(), path) {
		t.Fatalf("verification of an old record: %v", err)
	}
	shut(t, m)
	if _, err := Open(path, Options{}); core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), "record 8 ") {
		t.Fatalf("full check at start: %v", err)
	}
	garble(t, path, fmt.Appendf(nil, "value of object-%06d!", total-5))
	if _, err := Open(path, Options{VerifyBytes: 1}); core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), fmt.Sprintf("record %d ", total-4)) {
		t.Fatalf("quick check at start: %v", err)
	}
}

// TestVerifyFindsWhatNoRecordExplains changes the buckets beside the records, each in a way that its
// pages are fine.
func TestVerifyFindsWhatNoRecordExplains(t *testing.T) {
	for name, change := range map[string]func(tx *bolt.Tx) error{
		"an object too many": func(tx *bolt.Tx) error {
			return tx.Bucket(bucketObjects).Put(objectKey("service", "ghost"), pointer{seq: 1, created: 1, length: 3}.object())
		},
		"an object missing": func(tx *bolt.Tx) error { return tx.Bucket(bucketObjects).Delete(objectKey("service", "a")) },
		"an object moved": func(tx *bolt.Tx) error {
			return tx.Bucket(bucketObjects).Put(objectKey("service", "a"), pointer{seq: 1, created: 1, offset: 3, length: 3}.object())
		},
		"history too long": func(tx *bolt.Tx) error {
			return tx.Bucket(bucketHistory).Put(historyKey(objectKey("service", "a"), 2), pointer{created: 1, length: 3}.history())
		},
		"history missing": func(tx *bolt.Tx) error {
			return tx.Bucket(bucketHistory).Delete(historyKey(objectKey("service", "a"), 1))
		},
		"a request too many": func(tx *bolt.Tx) error { return tx.Bucket(bucketRequests).Put([]byte("ghost"), seqKey(1)) },
		"a request missing":  func(tx *bolt.Tx) error { return tx.Bucket(bucketRequests).Delete([]byte("r1")) },
		"a tree node":        func(tx *bolt.Tx) error { return tx.Bucket(bucketTree).Put(seqKey(1), make([]byte, hashSize)) },
		"a record missing":   func(tx *bolt.Tx) error { return tx.Bucket(bucketRecords).Delete(seqKey(1)) },
		"a record too many": func(tx *bolt.Tx) error {
			return tx.Bucket(bucketRecords).Put(seqKey(3), tx.Bucket(bucketRecords).Get(seqKey(2)))
		},
		"no identity": func(tx *bolt.Tx) error { return tx.Bucket(bucketState).Delete(keyIdentity) },
		"no position": func(tx *bolt.Tx) error { return tx.Bucket(bucketState).Delete(keyPosition) },
		"no bucket":   func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketHistory) },
		"an older position": func(tx *bolt.Tx) error {
			p, err := readPosition(tx)
			if err != nil {
				return err
			}
			p.Seq--
			return tx.Bucket(bucketState).Put(keyPosition, p.encode())
		},
	} {
		path := filepath.Join(t.TempDir(), "state.db")
		m := openAt(t, path, Options{})
		apply(t, m, identityEntry(t), group(2, encode(t, 1, "r1", put("a", 0)), encode(t, 2, "", put("b", 0))))
		flush(t, m)
		if err := m.file.Update(change); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		shut(t, m)
		if m, err := Open(path, Options{}); core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				shut(t, m)
			}
		}
	}
}

func TestNewerFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := openAt(t, path, Options{})
	err := m.file.Update(func(tx *bolt.Tx) error {
		position := m.position.encode()
		position = position[:len(position)-4]
		binary.BigEndian.PutUint32(position, Format+1)
		return tx.Bucket(bucketState).Put(keyPosition, seal(position))
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, m)
	_, err = Open(path, Options{})
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}
