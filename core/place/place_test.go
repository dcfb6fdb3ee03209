package place

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
)

func target(node, name string, cpu, memory int64) Target {
	return Target{Key: Key{node, "process", name}, Healthy: true, Capacity: core.Resources{CPU: cpu, Memory: memory}}
}

func web(count int, cpu, memory int64) Request {
	return Request{Service: "web", Revision: 1, Count: count, Driver: "process", Resources: core.Resources{CPU: cpu, Memory: memory}}
}

func TestPlace(t *testing.T) {
	sick := target("n3", "local", 1000, 0)
	sick.Healthy, sick.Reason = false, "driver exited"
	other := Target{Key: Key{"n4", "docker", "local"}, Healthy: true}
	const m = 1 << 20
	for _, tt := range []struct {
		name    string
		req     Request
		targets []Target
		taken   map[string]Claim
		want    string
		why     string
	}{
		{
			"spread before free share", web(3, 100, 0),
			[]Target{target("n1", "local", 10000, 0), target("n2", "local", 1000, 0)},
			nil,
			"[n1/local n2/local n1/local]", "",
		},
		{
			"most free share first", web(1, 100, 0),
			[]Target{target("n1", "local", 1000, 0), target("n2", "local", 4000, 0)},
			map[string]Claim{"x": {Key: Key{"n2", "process", "local"}, Service: "x", Resources: core.Resources{CPU: 500}}},
			"[n1/local]", "",
		},
		{
			"the scarcer of cpu and memory counts", web(1, 0, 8*m),
			[]Target{target("n1", "local", 1000, 10*m), target("n2", "local", 1000, 100*m)},
			nil,
			"[n2/local]", "",
		},
		{"unknown capacity has no limit", web(2, 5000, 8*m), []Target{target("n1", "local", 0, 0)}, nil, "[n1/local n1/local]", ""},
		{"other drivers and sick targets get none", web(1, 0, 0), []Target{other, sick, target("n5", "local", 0, 0)}, nil, "[n5/local]", ""},
		{
			"room for fewer", web(3, 500, 0),
			[]Target{target("n1", "local", 800, 0), sick},
			nil,
			"[n1/local]", "wanted 3, room for 1: n1/local: cpu: 500 needed, 300 of 800 free; n3/local: not healthy: driver exited",
		},
		{
			"memory", web(1, 0, 64*m),
			[]Target{target("n1", "local", 0, 96*m)},
			map[string]Claim{"x": {Key: Key{"n1", "process", "local"}, Resources: core.Resources{Memory: 48 * m}}},
			"[]", "wanted 1, room for 0: n1/local: memory: 64MiB needed, 48MiB of 96MiB free",
		},
		{"nobody has the driver", web(1, 0, 0), []Target{other}, nil, "[]", "wanted 1, room for 0: no node has driver process"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLedger()
			for id, c := range tt.taken {
				l.Set(id, c)
			}
			got, why := l.Place(tt.req, tt.targets)
			if fmt.Sprint(got) != tt.want || why != tt.why {
				t.Errorf("Place = %v, %q\nwant    %s, %q", got, why, tt.want, tt.why)
			}
		})
	}
}

func TestPlaceNamedTarget(t *testing.T) {
	req := web(2, 0, 0)
	req.Target = "big"
	got, why := NewLedger().Place(req, []Target{target("n1", "local", 0, 0), target("n1", "big", 0, 0)})
	if fmt.Sprint(got) != "[n1/big n1/big]" || why != "" {
		t.Errorf("Place = %v, %q", got, why)
	}
	req.Target = "huge"
	if _, why = NewLedger().Place(req, []Target{target("n1", "local", 0, 0)}); why != "wanted 2, room for 0: no node has driver process, target huge" {
		t.Errorf("why = %q", why)
	}
}

// No target is ever given more than it has, places are found while there is room, and giving back
// leaves nothing behind.
func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var targets []Target
		for i := range rapid.IntRange(1, 5).Draw(t, "targets") {
			targets = append(targets, target(fmt.Sprintf("n%d", i/2), fmt.Sprintf("t%d", i),
				rapid.Int64Range(0, 3000).Draw(t, "cpu"), rapid.Int64Range(0, 3000).Draw(t, "memory")))
		}
		l := NewLedger()
		id := 0
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			req := web(rapid.IntRange(0, 20).Draw(t, "count"), rapid.Int64Range(0, 700).Draw(t, "cpu"), rapid.Int64Range(0, 700).Draw(t, "memory"))
			places, why := l.Place(req, targets)
			if (len(places) < req.Count) != (why != "") {
				t.Fatalf("%d of %d places, why %q", len(places), req.Count, why)
			}
			for _, k := range places {
				id++
				l.Set(fmt.Sprint(id), Claim{Key: k, Service: req.Service, Revision: 1, Resources: req.Resources})
			}
			for i := range targets {
				tt, used := &targets[i], l.used[targets[i].Key]
				over := tt.Capacity.CPU > 0 && used.CPU > tt.Capacity.CPU && req.Resources.CPU > 0
				if over || tt.Capacity.Memory > 0 && used.Memory > tt.Capacity.Memory && req.Resources.Memory > 0 {
					t.Fatalf("%s has %+v and gave %+v", tt.Key, tt.Capacity, used)
				}
				if why != "" && (&candidate{target: tt, used: used}).lacks(req.Resources) == "" {
					t.Fatalf("%s has room, but: %s", tt.Key, why)
				}
			}
		}
		for i := 1; i <= id; i++ {
			if !l.Has(fmt.Sprint(i)) {
				t.Fatalf("claim %d is lost", i)
			}
			l.Remove(fmt.Sprint(i))
		}
		if l.Len() != 0 || len(l.used) != 0 || len(l.spread) != 0 {
			t.Fatalf("left behind: %+v", l)
		}
	})
}

func TestPlaceManyQuickly(t *testing.T) {
	var targets []Target
	for i := range 9 {
		targets = append(targets, target(fmt.Sprintf("n%d", i), "local", 0, 0))
	}
	l := NewLedger()
	start := time.Now()
	places, _ := l.Place(web(10_000, 10, 10), targets)
	for i, k := range places {
		l.Set(fmt.Sprint(i), Claim{Key: k, Service: "web", Revision: 1})
	}
	if took := time.Since(start); len(places) != 10_000 || took > 2*time.Second {
		t.Errorf("%d places in %s", len(places), took)
	}
	for g, n := range l.spread {
		if n < 1111 || n > 1112 {
			t.Errorf("%v has %d", g, n)
		}
	}
}
