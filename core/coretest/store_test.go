package coretest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
)

func TestConformance(t *testing.T) {
	coretest.Run(t, func(*testing.T) core.Store { return coretest.NewStore() })
}

func write(t testing.TB, s core.Store, id string) core.Receipt {
	t.Helper()
	receipt, err := s.Propose(context.Background(), core.Txn{
		Meta: core.Meta{Principal: "test", Verb: "test"},
		Ops:  []core.Op{{Kind: core.KindInstance, ID: id, Value: []byte("{}"), IfSeq: core.AnySeq}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func TestTimeNeverGoesBack(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := coretest.NewStore(coretest.WithNow(func() time.Time { return now }))
	write(t, s, "a")
	now = now.Add(-time.Hour)
	write(t, s, "b")
	first, _ := s.Record(t.Context(), 1)
	second, _ := s.Record(t.Context(), 2)
	if !second.Txn.Meta.Time.Equal(first.Txn.Meta.Time) || !first.Txn.Meta.Time.Equal(now.Add(time.Hour)) {
		t.Fatalf("times are %v and %v", first.Txn.Meta.Time, second.Txn.Meta.Time)
	}
}

func TestOptions(t *testing.T) {
	broken := errors.New("broken")
	s := coretest.NewStore(coretest.WithOrigin("x/y/2"), coretest.WithNode("n7"), coretest.WithFault(func(txn core.Txn) error {
		if txn.Ops[0].ID == "bad" {
			return broken
		}
		return nil
	}))
	if receipt := write(t, s, "a"); receipt.Origin != "x/y/2" {
		t.Fatalf("origin %q", receipt.Origin)
	}
	record, err := s.Record(t.Context(), 1)
	if err != nil || record.Txn.Meta.Origin != "n7" {
		t.Fatalf("record of node %q, %v", record.Txn.Meta.Origin, err)
	}
	_, err = s.Propose(t.Context(), core.Txn{
		Meta: core.Meta{Principal: "test", Verb: "test"},
		Ops:  []core.Op{{Kind: core.KindInstance, ID: "bad", Value: []byte("{}")}},
	})
	if !errors.Is(err, broken) || s.Seq() != 1 {
		t.Fatalf("got %v at %d", err, s.Seq())
	}
}

// BenchmarkPropose shows that a write does not get slower with the number of objects.
func BenchmarkPropose(b *testing.B) {
	for _, objects := range []int{100, 10_000} {
		b.Run(fmt.Sprint(objects), func(b *testing.B) {
			s := coretest.NewStore()
			for i := range objects {
				write(b, s, fmt.Sprintf("i%06d", i))
			}
			for i := 0; b.Loop(); i++ {
				write(b, s, fmt.Sprintf("i%06d", i%objects))
			}
		})
	}
}
