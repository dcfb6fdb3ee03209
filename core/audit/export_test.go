package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/coretest"
)

func propose(t testing.TB, s core.Store, ops ...core.Op) core.Receipt {
	t.Helper()
	receipt, err := s.Propose(context.Background(), core.Txn{Meta: core.Meta{Principal: "test", Verb: "test.write"}, Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func put(id string, ifSeq uint64) core.Op {
	return core.Op{Kind: core.KindService, ID: id, Value: []byte(`{"format":1}`), IfSeq: ifSeq}
}

func filled(t testing.TB, records int) *coretest.Store {
	s := coretest.NewStore()
	for i := range records {
		propose(t, s, put(fmt.Sprintf("s%d", i%7), core.AnySeq), core.Op{Kind: core.KindRoute, ID: "r", Value: []byte("{}"), IfSeq: uint64(i)})
	}
	return s
}

func key(t testing.TB, name string) (note.Signer, note.Verifier) {
	t.Helper()
	secret, public, err := audit.NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifiers, err := audit.Verifiers(public + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifiers[0]
}

func export(t testing.TB, s audit.Source, signers ...note.Signer) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := audit.Export(context.Background(), &out, s, signers...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestVerifyExport(t *testing.T) {
	signer, verifier := key(t, "dev/n1")
	for _, records := range []int{0, 1, 2, 255, 256, 257, 1000} {
		s := filled(t, records)
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data := export(t, s, signer)
		report, err := audit.VerifyExport(bytes.NewReader(data), audit.Trust{Keys: []note.Verifier{verifier}})
		if err != nil {
			t.Fatalf("%d records: %v", records, err)
		}
		if report.Records != uint64(records) || report.Root != head.Root || report.Origin != head.Origin || !report.Signed ||
			report.Bytes != int64(len(data)) || report.Failure != nil || report.Checkpoints[0].SignedBy[0] != "dev/n1" {
			t.Fatalf("%d records: %+v", records, report)
		}
		if records == 1000 && (report.Objects != 8 || report.First.After(report.Last) || time.Since(report.First) > time.Minute) {
			t.Fatalf("%+v", report)
		}
	}
}

func TestVerifyExportUnsigned(t *testing.T) {
	data := export(t, filled(t, 3))
	report, err := audit.VerifyExport(iotest.OneByteReader(bytes.NewReader(data)), audit.Trust{})
	if err != nil || report.Signed || report.Records != 3 {
		t.Fatalf("%+v, %v", report, err)
	}
	_, verifier := key(t, "dev/n1")
	report, err = audit.VerifyExport(bytes.NewReader(data), audit.Trust{Keys: []note.Verifier{verifier}})
	if core.CodeOf(err) != core.CodeDenied || report.Failure == nil || report.Failure.Seq != 0 {
		t.Fatalf("an unsigned export was believed: %+v, %v", report, err)
	}
}

func TestVerifyExportQuorum(t *testing.T) {
	one, oneKey := key(t, "dev/n1")
	two, twoKey := key(t, "dev/n2")
	_, otherKey := key(t, "dev/n1")
	s := filled(t, 3)
	trust := audit.Trust{Keys: []note.Verifier{oneKey, twoKey}, Quorum: 2}
	if _, err := audit.VerifyExport(bytes.NewReader(export(t, s, one, two)), trust); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyExport(bytes.NewReader(export(t, s, one)), trust); core.CodeOf(err) != core.CodeDenied {
		t.Fatalf("one signature passed for two: %v", err)
	}
	if _, err := audit.VerifyExport(bytes.NewReader(export(t, s, one)), audit.Trust{Keys: []note.Verifier{otherKey}}); core.CodeOf(err) != core.CodeDenied {
		t.Fatalf("another key of the same name passed: %v", err)
	}
}

// TestVerifyExportKnownHead gives the verifier an old head, as an auditor has noted it.
func TestVerifyExportKnownHead(t *testing.T) {
	s := filled(t, 300)
	then, err := s.HeadAt(t.Context(), 120)
	if err != nil {
		t.Fatal(err)
	}
	data := export(t, s)
	if _, err := audit.VerifyExport(bytes.NewReader(data), audit.Trust{Heads: []core.TreeHead{then}}); err != nil {
		t.Fatal(err)
	}
	then.Root[0] ^= 1
	report, err := audit.VerifyExport(bytes.NewReader(data), audit.Trust{Heads: []core.TreeHead{then}})
	if core.CodeOf(err) != core.CodeCorrupt || report.Failure.Seq != 120 {
		t.Fatalf("a rewritten history passed: %+v, %v", report.Failure, err)
	}
	then.Size = 301
	if _, err := audit.VerifyExport(bytes.NewReader(data), audit.Trust{Heads: []core.TreeHead{then}}); core.CodeOf(err) != core.CodeCorrupt {
		t.Fatalf("a log shorter than the known head passed: %v", err)
	}
}

// TestVerifyExportFindsEveryFlip flips bits all over an export. One in a record's frame must be blamed
// on that record.
func TestVerifyExportFindsEveryFlip(t *testing.T) {
	signer, verifier := key(t, "dev/n1")
	trust := audit.Trust{Keys: []note.Verifier{verifier}}
	data := export(t, filled(t, 40), signer)
	first := bytes.Index(data, []byte("record 1 "))
	fifth, sixth := bytes.Index(data, []byte("record 5 ")), bytes.Index(data, []byte("record 6 "))
	for at := range data {
		if at > sixth && at%7 != 0 {
			continue // a sample of the rest
		}
		bad := bytes.Clone(data)
		bad[at] ^= 1 << (at % 8)
		report, err := audit.VerifyExport(bytes.NewReader(bad), trust)
		if err == nil {
			t.Fatalf("a flip of bit %d at byte %d (%q) passed", at%8, at, bad[max(0, at-10):min(len(bad), at+10)])
		}
		if report.Failure == nil || report.Failure.Reason == "" {
			t.Fatalf("flip at %d: %v without a failure", at, err)
		}
		if at < first && report.Records != 0 {
			t.Fatalf("flip at %d, in the header: %d records were verified first", at, report.Records)
		}
		if at >= fifth && at < sixth && report.Failure.Seq != 5 {
			t.Fatalf("flip at %d, in record 5, is blamed on %d: %v", at, report.Failure.Seq, err)
		}
	}
}

func TestVerifyExportFindsEveryCut(t *testing.T) {
	data := export(t, filled(t, 5))
	for size := range data {
		if _, err := audit.VerifyExport(bytes.NewReader(data[:size]), audit.Trust{}); core.CodeOf(err) != core.CodeCorrupt {
			t.Fatalf("an export cut to %d of %d bytes: %v", size, len(data), err)
		}
	}
	if _, err := audit.VerifyExport(bytes.NewReader(append(bytes.Clone(data), 'x')), audit.Trust{}); core.CodeOf(err) != core.CodeCorrupt {
		t.Fatalf("something behind the end: %v", err)
	}
}

// forged lets a test write a log that no store would: hashes and root are right, the story is not.
func forged(t *testing.T, txns ...core.Txn) []byte {
	t.Helper()
	var tree audit.Frontier
	var body bytes.Buffer
	for i, txn := range txns {
		raw, err := audit.Encode(txn)
		if err != nil {
			t.Fatal(err)
		}
		tree.Append(audit.LeafHash(raw), nil)
		fmt.Fprintf(&body, "record %d %d %s\n%s\n", i+1, len(raw), audit.LeafHash(raw), raw)
	}
	text, err := audit.SignCheckpoint(core.TreeHead{Origin: "o", Size: tree.Size, Root: tree.Root()})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "instar audit export 1\norigin o\nrecords %d\ncheckpoint %d\n%s\n%send %d %s\n",
		tree.Size, len(text), text, body.Bytes(), tree.Size, tree.Root())
}

func TestVerifyExportStory(t *testing.T) {
	at := func(second int64, ops ...core.Op) core.Txn {
		return core.Txn{Meta: core.Meta{Principal: "p", Verb: "v", Time: time.Unix(second, 0)}, Ops: ops}
	}
	del := func(ifSeq uint64) core.Op {
		return core.Op{Kind: core.KindService, ID: "a", Delete: true, IfSeq: ifSeq}
	}
	for name, c := range map[string]struct {
		txns []core.Txn
		seq  uint64
		text string
	}{
		"good":           {[]core.Txn{at(1, put("a", 0)), at(1, put("a", 1)), at(2, del(2)), at(2, put("a", 0))}, 0, ""},
		"time goes back": {[]core.Txn{at(2, put("a", 0)), at(3, put("b", 0)), at(1, put("c", 0))}, 3, "before its predecessor"},
		"made twice":     {[]core.Txn{at(1, put("a", 0)), at(2, put("a", 0))}, 2, `service "a"`},
		"lost write":     {[]core.Txn{at(1, put("a", 0)), at(2, put("a", 1)), at(3, put("a", 1))}, 3, "is 2"},
		"delete unseen":  {[]core.Txn{at(1, del(1))}, 1, "(0: none)"},
		"after delete":   {[]core.Txn{at(1, put("a", 0)), at(2, del(1)), at(3, put("a", 1))}, 3, "as record 1 left it"},
	} {
		report, err := audit.VerifyExport(bytes.NewReader(forged(t, c.txns...)), audit.Trust{})
		if c.seq == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if core.CodeOf(err) != core.CodeCorrupt || report.Failure.Seq != c.seq || !strings.Contains(err.Error(), c.text) || report.Records != c.seq-1 {
			t.Errorf("%s: got %v at %+v, want %q at %d", name, err, report.Failure, c.text, c.seq)
		}
	}
}

// TestVerifyExportSwappedRecord replaces a record with its hash, which only the root can show.
func TestVerifyExportSwappedRecord(t *testing.T) {
	txn := core.Txn{Meta: core.Meta{Principal: "mallory", Verb: "v", Time: time.Now()}, Ops: []core.Op{put("a", core.AnySeq)}}
	good := forged(t, txn, txn, txn)
	txn.Meta.Principal = "alice"
	other := forged(t, txn, txn, txn)
	begin, end := bytes.Index(good, []byte("record 2 ")), bytes.Index(good, []byte("record 3 "))
	otherBegin, otherEnd := bytes.Index(other, []byte("record 2 ")), bytes.Index(other, []byte("record 3 "))
	mixed := bytes.Join([][]byte{good[:begin], other[otherBegin:otherEnd], good[end:]}, nil)
	report, err := audit.VerifyExport(bytes.NewReader(mixed), audit.Trust{})
	if core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), "altered together with their hashes") {
		t.Fatalf("got %v, %+v", err, report.Failure)
	}
}

func TestVerifyExportHostileText(t *testing.T) {
	for _, text := range []string{
		"", "\n", "instar audit export 2\n", "PK\x03\x04", strings.Repeat("x", 1<<20),
		"instar audit export 1\norigin \nrecords 0\n",
		"instar audit export 1\norigin o\nrecords -1\n",
		"instar audit export 1\norigin o\nrecords 0\nend 0 x\n",
		"instar audit export 1\norigin o\nrecords 99999999999999999\ncheckpoint 999999999\n",
		"instar audit export 1\norigin o\nrecords 0\ncheckpoint 5\no\n0\nx\nend",
	} {
		report, err := audit.VerifyExport(strings.NewReader(text), audit.Trust{})
		if code := core.CodeOf(err); code != core.CodeCorrupt && code != core.CodeUnsupported || report.Failure == nil {
			t.Errorf("%.40q: got %v, %+v", text, err, report.Failure)
		}
	}
	broken := errors.New("disk on fire")
	if _, err := audit.VerifyExport(iotest.ErrReader(broken), audit.Trust{}); !errors.Is(err, broken) {
		t.Errorf("a reading error came back as %v", err)
	}
}

func FuzzVerifyExport(f *testing.F) {
	f.Add(export(f, filled(f, 3)))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = audit.VerifyExport(bytes.NewReader(data), audit.Trust{}) // must neither panic nor hang
	})
}

func TestProve(t *testing.T) {
	signer, verifier := key(t, "dev/n1")
	trust := audit.Trust{Keys: []note.Verifier{verifier}}
	s := filled(t, 50)
	rapid.Check(t, func(r *rapid.T) {
		seq := rapid.Uint64Range(1, 50).Draw(r, "seq")
		made, err := audit.Prove(context.Background(), s, seq, signer)
		if err != nil {
			r.Fatal(err)
		}
		text, err := json.Marshal(made)
		if err != nil {
			r.Fatal(err)
		}
		var p audit.Proof
		if err := json.Unmarshal(text, &p); err != nil {
			r.Fatal(err)
		}
		record, checkpoint, err := p.Verify(trust)
		if err != nil || record.Seq != seq || record.Txn.Meta.Verb != "test.write" || checkpoint.Head.Size != 50 {
			r.Fatalf("%+v, %+v, %v", record, checkpoint, err)
		}
		receipt := core.Receipt{Origin: p.Receipt.Origin, Seq: seq, LeafHash: p.Receipt.LeafHash, Replayed: true}
		if _, err := audit.VerifyReceipt(receipt, &p, trust); err != nil {
			r.Fatal(err)
		}
		receipt.Seq++
		if _, err := audit.VerifyReceipt(receipt, &p, trust); core.CodeOf(err) != core.CodeCorrupt {
			r.Fatalf("a proof of another record passed: %v", err)
		}
		change := map[string]func(){
			"format":   func() { p.Format++ },
			"record":   func() { p.Record[rapid.IntRange(0, len(p.Record)-1).Draw(r, "byte")] ^= 4 },
			"seq":      func() { p.Receipt.Seq = p.Receipt.Seq%50 + 1 },
			"origin":   func() { p.Receipt.Origin += "x" },
			"size":     func() { p.Size++ },
			"path":     func() { p.Path[0][0] ^= 1 },
			"unsigned": func() { p.Checkpoint = p.Checkpoint[:strings.Index(p.Checkpoint, "\n\n")+1] },
			"signed":   func() { p.Checkpoint = strings.Replace(p.Checkpoint, "\n50\n", "\n51\n", 1); p.Size = 51 },
		}
		what := rapid.SampledFrom([]string{"format", "record", "seq", "origin", "size", "path", "unsigned", "signed"}).Draw(r, "change")
		change[what]()
		if _, _, err := p.Verify(trust); err == nil {
			r.Fatalf("a proof with another %s passed", what)
		}
	})
}

func TestProveKnownHead(t *testing.T) {
	s := filled(t, 5)
	p, err := audit.Prove(t.Context(), s, 2)
	if err != nil {
		t.Fatal(err)
	}
	head, _ := s.Head(t.Context())
	if _, _, err := p.Verify(audit.Trust{Heads: []core.TreeHead{head}}); err != nil {
		t.Fatal(err)
	}
	head.Root[0]++
	if _, _, err := p.Verify(audit.Trust{Heads: []core.TreeHead{head}}); core.CodeOf(err) != core.CodeCorrupt {
		t.Fatalf("a second history passed: %v", err)
	}
	if _, err := audit.Prove(t.Context(), s, 6); core.CodeOf(err) != core.CodeNotFound {
		t.Fatalf("a record that does not exist: %v", err)
	}
}

// TestCheckpointIsANote reads a checkpoint with the reference implementation alone.
func TestCheckpointIsANote(t *testing.T) {
	signer, verifier := key(t, "dev/n1")
	head := core.TreeHead{Origin: "dev/abc/1", Size: 7, Root: core.Hash{1, 2, 3}}
	text, err := audit.SignCheckpoint(head, signer)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil || n.Text != "dev/abc/1\n7\nAQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" {
		t.Fatalf("%+v, %v", n, err)
	}
	if _, err := audit.SignCheckpoint(core.TreeHead{Origin: "two\nlines"}, signer); core.CodeOf(err) != core.CodeInvalid {
		t.Fatalf("got %v", err)
	}
	if _, err := audit.Verifiers("no key"); core.CodeOf(err) != core.CodeInvalid {
		t.Fatalf("got %v", err)
	}
}
