package keeper_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keeper"
)

// requests are when, since the beginning, the loop has asked for a certificate.
type requests struct {
	mu    sync.Mutex
	times []time.Duration
}

func (r *requests) add(at time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, at)
	return len(r.times)
}

func (r *requests) all() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.times)
}

// renewing runs the loop in a bubble of fake time.
func renewing(t *testing.T, k *keeper.Keeper, authority *ca.CA, random float64, fail func(n int) error) *requests {
	t.Helper()
	asked := &requests{}
	begin := time.Now()
	r := keeper.Renewal{
		Addresses: func() []string { return nil }, Logger: hclog.NewNullLogger(), Random: func() float64 { return random },
		Sign: func(_ context.Context, csr []byte) (string, []string, error) {
			if err := fail(asked.add(time.Since(begin))); err != nil {
				return "", nil, err
			}
			issued, err := authority.SignNode(csr, "n1", time.Now())
			return issued.PEM, []string{authority.PEM()}, err
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Renew(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ended with %v", err)
		}
	})
	return asked
}

const day = 24 * time.Hour

func TestCertificateIsRenewedInTime(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 45 * day, 0.999: 72 * day} {
		synctest.Test(t, func(t *testing.T) {
			authority := newCA(t, cluster)
			k := member(t, authority, "n1", time.Now())
			first := serial(t, k)
			asked := renewing(t, k, authority, random, func(int) error { return nil })
			<-time.After(want - time.Hour)
			if len(asked.all()) != 0 {
				t.Fatalf("asked after %v already", asked.all())
			}
			<-time.After(2 * time.Hour)
			synctest.Wait()
			if len(asked.all()) != 1 || serial(t, k) == first {
				t.Fatalf("asked %d times, serial %s, before %s", len(asked.all()), serial(t, k), first)
			}
			<-time.After(want + time.Hour)
			synctest.Wait()
			if len(asked.all()) != 2 {
				t.Errorf("asked %d times after two lives", len(asked.all()))
			}
		})
	}
}

// A certificate that is signed by a node whose clock is a day ahead would be refused by all others for a day:
// the one that there is serves on, and another one is asked for.
func TestCertificateOfTheFutureIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := newCA(t, cluster)
		k := member(t, authority, "n1", time.Now())
		first := serial(t, k)
		var behind atomic.Int64
		k.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
		asked := renewing(t, k, authority, 0, func(int) error { return nil })
		behind.Store(int64(day)) // of the signer's clock, that is
		<-time.After(46*day + time.Hour)
		synctest.Wait()
		if len(asked.all()) == 0 || serial(t, k) != first {
			t.Fatalf("asked %d times, serial %s, before %s", len(asked.all()), serial(t, k), first)
		}
		behind.Store(0)
		<-time.After(time.Hour)
		synctest.Wait()
		if serial(t, k) == first {
			t.Errorf("the clocks agree again, and the certificate is still the old one; asked %d times", len(asked.all()))
		}
	})
}

func TestRenewalIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := newCA(t, cluster)
		k := member(t, authority, "n1", time.Now())
		first := serial(t, k)
		asked := renewing(t, k, authority, 0, func(n int) error {
			if n <= 12 {
				return core.Errorf(core.CodeUnavailable, "there is no leader")
			}
			return nil
		})
		<-time.After(46 * day)
		synctest.Wait()
		if len(asked.all()) != 13 || serial(t, k) == first {
			t.Fatalf("asked %d times", len(asked.all()))
		}
		for i := 1; i < len(asked.all()); i++ {
			wait := asked.all()[i] - asked.all()[i-1]
			if want := min(10*time.Second<<(i-1), 10*time.Minute); wait != want {
				t.Errorf("wait %d is %s, want %s", i, wait, want)
			}
		}
	})
}

// A node that joins while the loop runs is taken care of, and one whose clock jumps over the due time.
func TestRenewalBeginsWithTheJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := newCA(t, cluster)
		k := open(t, t.TempDir())
		var ahead atomic.Int64
		k.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		asked := renewing(t, k, authority, 0, func(int) error { return nil })
		<-time.After(30 * day)
		install(t, k, authority, "n1", time.Now())
		<-time.After(44 * day)
		synctest.Wait()
		if len(asked.all()) != 0 {
			t.Fatalf("asked after %v", asked.all())
		}
		ahead.Store(int64(2 * day))
		<-time.After(15 * time.Minute)
		synctest.Wait()
		if len(asked.all()) == 0 {
			t.Error("the clock's jump was not seen")
		}
	})
}
