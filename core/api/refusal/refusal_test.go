package refusal_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core/api/refusal"
)

func TestRefusalsOfOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := refusal.New(nil)
		answered := 0
		for range 100 {
			if wait, _ := l.Refused("a"); wait == 0 {
				answered++
			} else if wait < time.Second || wait > 2*time.Second {
				t.Fatalf("come back after %s", wait)
			}
		}
		if answered != 20 {
			t.Errorf("%d are answered in full, want 20", answered)
		}
		if wait, _ := l.Refused("b"); wait != 0 {
			t.Error("another source is told to wait")
		}
		<-time.After(time.Second)
		if wait, suppressed := l.Refused("a"); wait != 0 || suppressed != 80 {
			t.Errorf("after a second: wait %s, %d were not logged, want 80", wait, suppressed)
		}
	})
}

func TestSourcesAreBounded(t *testing.T) {
	l := refusal.New(func() time.Time { return time.Unix(1e9, 0) })
	for range 30 {
		l.Refused("first")
	}
	for i := range 5000 {
		l.Refused(fmt.Sprint("other", i))
	}
	if wait, suppressed := l.Refused("first"); wait != 0 || suppressed != 0 {
		t.Errorf("a source of long ago is remembered: wait %s, suppressed %d", wait, suppressed)
	}
}

func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[::ffff:192.0.2.1]:1": "192.0.2.1",
		"[fe80::1%eth0]:1": "fe80::/64", "@": "@", "": "",
	} {
		if got := refusal.Source(remote); got != want {
			t.Errorf("%q comes from %q, want %q", remote, got, want)
		}
	}
}
