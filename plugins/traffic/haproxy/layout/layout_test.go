package layout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

func route(id string, pools ...sdk.Pool) sdk.Route {
	return sdk.Route{ID: id, Generation: 1, Listen: "127.0.0.1:8080", Protocol: sdk.ProtocolHTTP, Drain: time.Minute, Pools: pools}
}

func pool(revision, weight, from, to int) sdk.Pool {
	p := sdk.Pool{Revision: revision, Weight: weight}
	for n := from; n < to; n++ {
		p.Endpoints = append(p.Endpoints, sdk.Endpoint{ID: fmt.Sprintf("i-%d-%d", revision, n), Address: address(revision, n)})
	}
	return p
}

func address(revision, n int) string { return fmt.Sprintf("127.0.%d.1:%d", revision, n+1) }

func addresses(r sdk.Route) map[string]string {
	all := make(map[string]string)
	for _, p := range r.Pools {
		for _, e := range p.Endpoints {
			all[e.Address] = e.Address
		}
	}
	return all
}

// pick says which backend the map gives to a number, as HAProxy's map_beg does: the longest prefix counts.
func pick(entries []socket.Entry, route string, number int) string {
	key, value, longest := fmt.Sprintf("%s/%d", route, number), "", 0
	for _, e := range entries {
		if strings.HasPrefix(key, e.Key) && len(e.Key) > longest {
			value, longest = e.Value, len(e.Key)
		}
	}
	return value
}

// TestShares: each of the ten thousand numbers belongs to exactly one backend, and each backend has its share.
func TestShares(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, weights := range [][]int{{1}, {100, 0}, {99, 1}, {3, 1}, {1, 1, 1}, {1_000_000, 1}, {0, 7, 13, 80}, {random.IntN(1000) + 1, random.IntN(1000) + 1, random.IntN(10) + 1}} {
		var pools []sdk.Pool
		total := 0
		for i, w := range weights {
			pools = append(pools, pool(i+1, w, 0, 1))
			total += w
		}
		spec := route("web", pools...)
		r := Place(nil, spec, Sizes{Pools: 4, Slots: 2}, time.Now(), addresses(spec))
		entries := r.Entries()
		got := make(map[string]int)
		for n := range parts {
			got[pick(entries, "web", parts+n)]++
		}
		read := Shares("web", entries)
		for i, w := range weights {
			backend := r.BackendName(r.Pool(i + 1))
			exact := float64(w) * parts / float64(total)
			if n := got[backend]; float64(n) < exact-2 || float64(n) > exact+2 || w > 0 && n == 0 {
				t.Errorf("weights %v: revision %d gets %d of %d, want %.1f", weights, i+1, n, parts, exact)
			}
			if read[backend] != got[backend] {
				t.Errorf("weights %v: revision %d is read back as %d, and gets %d", weights, i+1, read[backend], got[backend])
			}
		}
		if got := Weights(r, entries); got[1] != weights[0] {
			t.Errorf("weights %v: the first is read back as %d", weights, got[1])
		}
	}
}

// TestPlaceWalk: whatever changes, an endpoint that stays keeps its slot, none has two, one that leaves keeps
// its slot until it is freed, and no shape changes without need.
func TestPlaceWalk(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	sizes := Sizes{Pools: 3, Slots: 4}
	now := time.Unix(1000, 0)
	var r *Route
	for step := range 2000 {
		now = now.Add(time.Second)
		var pools []sdk.Pool
		for _, revision := range random.Perm(6)[:random.IntN(4)] {
			from := random.IntN(4)
			pools = append(pools, pool(revision+1, random.IntN(3), from, from+random.IntN(7)))
		}
		spec := route("web", pools...)
		before := r
		r = Place(before, spec, sizes, now, addresses(spec))
		checkPlaces(t, step, before, r, now)
		if t.Failed() {
			return
		}
		r.EachSlot(func(_, _ string, _ *Backend, s *Slot) {
			if s.Leaving() && random.IntN(3) == 0 {
				*s = Slot{}
			}
		})
	}
}

func checkPlaces(t *testing.T, step int, before, after *Route, now time.Time) {
	t.Helper()
	where := make(map[string]string)
	after.EachSlot(func(backend, server string, b *Backend, s *Slot) {
		if !s.Serving() {
			return
		}
		key := fmt.Sprintf("%d %s", b.Revision, s.ID)
		if where[key] != "" {
			t.Errorf("step %d: %s has the slots %s and %s/%s", step, key, where[key], backend, server)
		}
		where[key] = backend + "/" + server
	})
	wanted := 0
	for _, p := range after.Spec.Pools {
		for _, e := range p.Endpoints {
			wanted++
			if where[fmt.Sprintf("%d %s", p.Revision, e.ID)] == "" {
				t.Errorf("step %d: %s of revision %d has no slot", step, e.ID, p.Revision)
			}
		}
	}
	if wanted != len(where) {
		t.Errorf("step %d: %d slots serve, want %d", step, len(where), wanted)
	}
	if before == nil {
		return
	}
	for i := range before.Backends {
		for j := range before.Backends[i].Slots {
			old, s := &before.Backends[i].Slots[j], &after.Backends[i].Slots[j]
			switch {
			case old.Leaving() && (s.ID != old.ID || !s.Leaves.Equal(old.Leaves)):
				t.Errorf("step %d: the slot of %s, which was leaving, has %+v", step, old.ID, s)
			case old.Serving() && (s.ID != old.ID || s.Leaving() && !s.Left.Equal(now)):
				t.Errorf("step %d: the slot of %s has %+v", step, old.ID, s)
			}
		}
	}
}

// TestShape: what is in the slots does not change the marker; what needs a reload does.
func TestShape(t *testing.T) {
	settings := Settings{Directory: "/etc/haproxy/instar", Token: "t", IdleTimeout: time.Minute}
	marker := func(specs ...sdk.Route) string {
		s := New()
		for _, spec := range specs {
			s.Routes[spec.ID] = Place(nil, spec, Sizes{Pools: 4, Slots: 4}, time.Now(), addresses(spec))
		}
		return Render(settings, s, func(sdk.Route) Options { return Options{} }).Marker
	}
	base := marker(route("web", pool(1, 1, 0, 2)))
	other := route("web", pool(2, 5, 1, 4), pool(3, 0, 0, 1))
	other.Host, other.Generation = "shop.example", 9
	if got := marker(other); got != base {
		t.Error("other endpoints, weights and hosts change the shape")
	}
	moved := route("web", pool(1, 1, 0, 2))
	moved.Listen = "127.0.0.1:8081"
	for what, got := range map[string]string{
		"a further route": marker(route("web"), route("api")), "another listener": marker(moved),
		"more endpoints than slots": marker(route("web", pool(1, 1, 0, 9))),
	} {
		if got == base {
			t.Errorf("%s does not change the shape", what)
		}
	}
}

// TestLatency: the histogram in HAProxy's table has two digits.
func TestLatency(t *testing.T) {
	rates := map[int]uint64{
		1*keysOfServer + 42:      50, // 42 µs
		1*keysOfServer + 100 + 3: 40, // class 1 begins at 100 µs: this cannot be counted, and does no harm
		1*keysOfServer + 215:     9,  // 1.5 ms
		1*keysOfServer + 600 + 7: 1,  // 7 s
		2*keysOfServer + 699:     1000,
	}
	l := Latency(rates, 0)
	if l.Count != 100 || l.P50 > 43*time.Microsecond || l.P99 < 1500*time.Microsecond || l.P99 > 1600*time.Microsecond || l.Max < 7*time.Second || l.Max > 8*time.Second {
		t.Errorf("latency is %+v", l)
	}
	if keys := Keys(rates, 1); !slices.Equal(keys, []int{2*keysOfServer + 699}) {
		t.Errorf("keys of the second server: %v", keys)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string][2]bool{ // supported, idle-close-on-response
		"2.2.9": {false, false}, "2.4.0-6cbbecf": {true, false}, "2.4.22": {true, true}, "2.5.0": {true, false},
		"2.6.12-1+deb12u3": {true, true}, "3.5-dev5": {true, true}, "": {true, true},
	} {
		if got := [2]bool{Supported(version), Supported(version) && knowsIdleClose(version)}; got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
}

// TestNames: different ids have different names, and all are names that HAProxy takes.
func TestNames(t *testing.T) {
	seen := make(map[string]string)
	for _, id := range []string{"web", "Web", "web.1", "we b", "we_b", "wé", "w--1", "-w", "", strings.Repeat("a", 48), strings.Repeat("a", 49), strings.Repeat("ä", 300)} {
		name := RouteName(id)
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q are both called %s", id, other, name)
		}
		seen[name] = id
		if strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r)
		}) || len(name) > 60 {
			t.Errorf("%q is called %q", id, name)
		}
	}
}
