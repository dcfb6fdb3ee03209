package port_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/instarhq/instar/plugins/compute/process/port"
	"github.com/instarhq/instar/sdk"
)

func TestRange(t *testing.T) {
	r, err := port.ParseRange("20000 - 29999")
	if err != nil || r != (port.Range{First: 20000, Last: 29999}) || r.String() != "20000-29999" {
		t.Errorf("%v, %v", r, err)
	}
	for _, bad := range []string{"", "x", "20000", "0-5", "5-4", "1-65536", "1-2-3", "-1-5"} {
		if r, err := port.ParseRange(bad); err == nil {
			t.Errorf("%q is read as %v", bad, r)
		}
	}
	if _, overlap := (port.Range{First: 1, Last: 65535}).Overlap(); !overlap {
		t.Error("all ports do not overlap those for outgoing connections")
	}
}

// listen takes a port that is certainly in use, and its number.
func listen(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// A port belongs to one instance at a time, however many ask, and comes back when it is released.
func TestPool(t *testing.T) {
	p := port.NewPool()
	p.SetRange(port.Range{First: 21000, Last: 21199}, 12345)
	var group sync.WaitGroup
	var mu sync.Mutex
	owners := map[int]string{}
	for n := range 50 {
		owner := string(rune('A' + n))
		group.Go(func() {
			got, err := p.Take(owner, []sdk.Port{{Name: "a"}, {Name: "b"}})
			if err != nil {
				t.Errorf("Take: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, number := range got {
				if other := owners[number]; other != "" || number < 21000 || number > 21199 {
					t.Errorf("%d is given to %s and %s", number, other, owner)
				}
				owners[number] = owner
			}
		})
	}
	group.Wait()
	for number, owner := range owners {
		p.Release("somebody else", map[string]int{"a": number})
		_, err := p.Take("x", []sdk.Port{{Name: "a", Number: number}})
		if sdk.CodeOf(err) != sdk.CodeConflict || !strings.Contains(err.Error(), owner) || !strings.HasPrefix(err.Error(), "port.a: ") {
			t.Errorf("a port of %s: %v", owner, err)
		}
		p.Release(owner, map[string]int{"a": number})
		if _, err := p.Take("x", []sdk.Port{{Name: "a", Number: number}}); err != nil {
			t.Errorf("a port that was released: %v", err)
		}
		break
	}
}

func TestPoolRefuses(t *testing.T) {
	p := port.NewPool()
	busy := listen(t)
	p.SetRange(port.Range{First: busy, Last: busy}, 0)
	_, err := p.Take("x", []sdk.Port{{Name: "web"}})
	if sdk.CodeOf(err) != sdk.CodeUnavailable || !strings.Contains(err.Error(), "port_range") {
		t.Errorf("a range without a free port: %v", err)
	}
	for number, code := range map[int]sdk.Code{busy: sdk.CodeConflict, -1: sdk.CodeInvalidConfig, 65536: sdk.CodeInvalidConfig} {
		_, err := p.Take("x", []sdk.Port{{Name: "ok", Number: 0}, {Name: "web", Number: number}}[1:])
		if sdk.CodeOf(err) != code || !strings.HasPrefix(err.Error(), "port.web: ") {
			t.Errorf("port %d: %v, want %s", number, err, code)
		}
	}
	p.SetRange(port.Range{First: 21200, Last: 21203}, 0)
	if _, err := p.Take("x", []sdk.Port{{Name: "a"}, {Name: "b"}, {Name: "c", Number: busy}}); err == nil {
		t.Error("a port in use was given")
	}
	if _, err := p.Take("x", []sdk.Port{{Name: "a"}, {Name: "a"}}); sdk.CodeOf(err) != sdk.CodeInvalidConfig {
		t.Errorf("one name twice: %v", err)
	}
	// What was taken before the refusals was given back.
	if _, err := p.Take("x", []sdk.Port{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}); err != nil {
		t.Errorf("Take: %v", err)
	}
}

// Ports that an instance has from an earlier life of the driver are not given out again.
func TestRestore(t *testing.T) {
	p := port.NewPool()
	p.SetRange(port.Range{First: 21300, Last: 21302}, 1)
	p.Restore("old", map[string]int{"a": 21301})
	for range 2 {
		got, err := p.Take("x", []sdk.Port{{Name: "a"}})
		if err != nil || got["a"] == 21301 {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if _, err := p.Take("x", []sdk.Port{{Name: "a"}}); sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("a fourth port of three: %v", err)
	}
}
