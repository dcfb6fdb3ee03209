package coretest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
)

// patience bounds every wait of the suite; reaching it is a failure, so it can be generous.
const patience = 20 * time.Second

// Run is the conformance suite of core.Store. open makes an empty store that is ready for writes and
// closes itself with t.Cleanup; it is called many times, so it should take milliseconds.
func Run(t *testing.T, open func(t *testing.T) core.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*testing.T, core.Store)
	}{
		{"Propose/Receipt", testReceipt},
		{"Propose/Meta", testMeta},
		{"Propose/IfSeq", testIfSeq},
		{"Propose/AllOrNothing", testAllOrNothing},
		{"Propose/Invalid", testInvalid},
		{"Propose/Limits", testLimits},
		{"Propose/Replay", testReplay},
		{"Propose/ConcurrentReplay", testConcurrentReplay},
		{"Propose/ConcurrentCounter", testConcurrentCounter},
		{"Propose/EndedContext", testEndedContext},
		{"Propose/SharesNoMemory", testSharesNoMemory},
		{"Read/AsOf", testAsOf},
		{"Read/Prefix", testPrefix},
		{"Read/Future", testFuture},
		{"Read/WhileWriting", testReadWhileWriting},
		{"Feed/FromAnySequence", testFeedFromAny},
		{"Feed/Waits", testFeedWaits},
		{"Feed/EndsWithContext", testFeedEnds},
		{"Feed/GapFree", testFeedGapFree},
		{"Log/Record", testRecord},
		{"Log/Heads", testHeads},
		{"Log/Proofs", testProofs},
		{"Log/ProofArguments", testProofArguments},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func txn(ops ...core.Op) core.Txn {
	return core.Txn{Meta: core.Meta{Principal: "test:suite", Verb: "test.write"}, Ops: ops}
}

func put(id, value string, ifSeq uint64) core.Op {
	return core.Op{Kind: core.KindService, ID: id, Value: []byte(value), IfSeq: ifSeq}
}

func del(id string, ifSeq uint64) core.Op {
	return core.Op{Kind: core.KindService, ID: id, Delete: true, IfSeq: ifSeq}
}

func mustPropose(t testing.TB, s core.Store, txn core.Txn) core.Receipt {
	t.Helper()
	receipt, err := s.Propose(context.Background(), txn)
	if err != nil {
		t.Fatalf("propose %s: %v", describe(txn), err)
	}
	return receipt
}

func wantCode(t testing.TB, err error, code core.Code, object string) {
	t.Helper()
	e, ok := core.AsError(err)
	if !ok || e.Code != code {
		t.Fatalf("got error %v (code %q), want code %q", err, core.CodeOf(err), code)
	}
	if object != "" && e.Object != object {
		t.Fatalf("error %q is about %q, want %q", err, e.Object, object)
	}
}

func wantValue(t testing.TB, s core.Reader, id string, at uint64, value string) core.Object {
	t.Helper()
	object, err := s.Get(context.Background(), core.KindService, id, at)
	if err != nil {
		t.Fatalf("get %q as of %d: %v", id, at, err)
	}
	if object.Kind != core.KindService || object.ID != id || string(object.Value) != value {
		t.Fatalf("get %q as of %d: %s %q = %q, want value %q", id, at, object.Kind, object.ID, object.Value, value)
	}
	return object
}

func wantAbsent(t testing.TB, s core.Reader, id string, at uint64) {
	t.Helper()
	_, err := s.Get(context.Background(), core.KindService, id, at)
	wantCode(t, err, core.CodeNotFound, "service/"+id)
}

func describe(txn core.Txn) string {
	text := txn.Meta.Verb
	for _, op := range txn.Ops {
		verb := "put"
		if op.Delete {
			verb = "delete"
		}
		text += fmt.Sprintf(" %s %s/%s if %d", verb, op.Kind, op.ID, op.IfSeq)
	}
	return text
}
