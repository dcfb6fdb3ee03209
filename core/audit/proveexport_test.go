package audit_test

import (
	"bytes"
	"context"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// A proof from an export is the proof that the log itself gives.
func TestProveExport(t *testing.T) {
	signer, verifier := key(t, "dev/n1")
	trust := audit.Trust{Keys: []note.Verifier{verifier}}
	rapid.Check(t, func(r *rapid.T) {
		size := rapid.IntRange(1, 70).Draw(r, "size")
		seq := rapid.Uint64Range(1, uint64(size)).Draw(r, "seq")
		s := filled(t, size)
		want, err := audit.Prove(context.Background(), s, seq)
		if err != nil {
			r.Fatal(err)
		}
		got, err := audit.ProveExport(bytes.NewReader(export(t, s, signer)), seq, trust)
		if err != nil {
			r.Fatal(err)
		}
		if _, _, err := got.Verify(trust); err != nil {
			r.Fatal(err)
		}
		if got.Receipt != want.Receipt || len(got.Path) != len(want.Path) {
			r.Fatalf("the export proves %+v, the log %+v", got.Receipt, want.Receipt)
		}
	})
}

func TestProveExportRefuses(t *testing.T) {
	data := export(t, filled(t, 5))
	for _, seq := range []uint64{0, 6} {
		if _, err := audit.ProveExport(bytes.NewReader(data), seq, audit.Trust{}); !core.IsNotFound(err) {
			t.Errorf("record %d of 5: %v", seq, err)
		}
	}
	data[len(data)/2] ^= 1
	if _, err := audit.ProveExport(bytes.NewReader(data), 1, audit.Trust{}); err == nil {
		t.Error("an altered export proves a record")
	}
}
