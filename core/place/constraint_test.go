package place

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
)

// labelled is a target of a node with labels written "rack=a,zone=1".
func labelled(node, labels string) Target {
	t := target(node, "local", 0, 0)
	t.Version, t.Labels = "1.2.0", map[string]string{}
	for pair := range strings.SplitSeq(labels, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			t.Labels[name] = value
		}
	}
	return t
}

func closed(t Target, why string) Target { t.Closed = why; return t }

// rule writes a constraint as "rack in a b".
func rule(text string) core.Constraint {
	words := strings.Fields(text)
	return core.Constraint{Attribute: words[0], Operator: core.ConstraintOperator(words[1]), Values: words[2:]}
}

func TestConstraints(t *testing.T) {
	cluster := []Target{labelled("n1", "rack=a"), labelled("n2", "rack=b,ssd=yes"), labelled("n3", "")}
	for _, tt := range []struct {
		rules string
		want  string
		why   string
	}{
		{"node.labels.rack = a", "[n1/local n1/local]", ""},
		{"node.labels.rack != a", "[n2/local n3/local]", ""},
		{"node.labels.rack in a b", "[n1/local n2/local]", ""},
		{"node.labels.rack not_in a b", "[n3/local n3/local]", ""},
		{"node.labels.rack exists", "[n1/local n2/local]", ""},
		{"node.labels.rack not_exists", "[n3/local n3/local]", ""},
		{"node.name = n2; node.labels.ssd exists", "[n2/local n2/local]", ""},
		{"driver.version = 1.2.0; target.name = local; node.name != n1", "[n2/local n3/local]", ""},
		{"node.labels.rack = c", "[]", "wanted 2, room for 0: 0 of 3 nodes: 3 lack rack=c"},
		{"node.labels.rack = a; node.labels.ssd exists", "[]", "wanted 2, room for 0: 0 of 3 nodes: 2 lack rack=a, 1 lacks ssd"},
		{"node.labels.rack not_in a b; node.labels.ssd exists", "[]", "wanted 2, room for 0: 0 of 3 nodes: 1 has rack=a, 1 has rack=b, 1 lacks ssd"},
		{"node.labels.rack not_exists; node.labels.ssd exists", "[]", "wanted 2, room for 0: 0 of 3 nodes: 2 have rack, 1 lacks ssd"},
		{"node.labels.rack in x y", "[]", "wanted 2, room for 0: 0 of 3 nodes: 3 lack rack=x or y"},
		{"driver.version = 2.0.0", "[]", "wanted 2, room for 0: 0 of 3 nodes: 3 lack driver.version=2.0.0"},
	} {
		t.Run(tt.rules, func(t *testing.T) {
			req := web(2, 0, 0)
			for text := range strings.SplitSeq(tt.rules, ";") {
				req.Constraints = append(req.Constraints, rule(text))
			}
			got, why := NewLedger().Place(req, cluster)
			if fmt.Sprint(got) != tt.want || why != tt.why {
				t.Errorf("Place = %v, %q\nwant    %s, %q", got, why, tt.want, tt.why)
			}
		})
	}
}

func TestRefusalCountsNodes(t *testing.T) {
	rackA := []core.Constraint{rule("node.labels.rack = a")}
	sick := labelled("n4", "rack=a")
	sick.Healthy, sick.Reason = false, "driver exited"
	full := labelled("n5", "rack=a")
	full.Capacity.CPU = 10
	second := labelled("n1", "rack=a")
	second.Name = "second"
	for _, tt := range []struct {
		name    string
		targets []Target
		why     string
	}{
		{
			"as in the manual",
			[]Target{labelled("n1", ""), labelled("n2", "rack=b"), closed(labelled("n3", "rack=a"), "draining")},
			"0 of 3 nodes: 2 lack rack=a, 1 is draining",
		},
		{
			"several closed",
			[]Target{closed(labelled("n1", "rack=a"), "draining"), closed(labelled("n2", "rack=a"), "draining"), closed(labelled("n3", "rack=a"), "down")},
			"0 of 3 nodes: 2 are draining, 1 is down",
		},
		{
			"some could",
			[]Target{sick, full, labelled("n2", ""), closed(labelled("n3", "rack=a"), "unreachable")},
			"n5/local: cpu: 100 needed, 10 of 10 free; n4/local: not healthy: driver exited; of 4 nodes 1 is unreachable, 1 lacks rack=a",
		},
		{"a node with two targets is one", []Target{closed(labelled("n1", "rack=a"), "down"), closed(second, "down")}, "0 of 1 node: 1 is down"},
		{"nobody has the driver", nil, "no node has driver process"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := web(1, 100, 0)
			req.Constraints = rackA
			if _, why := NewLedger().Place(req, tt.targets); why != "wanted 1, room for 0: "+tt.why {
				t.Errorf("%s", why)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	cluster := []Target{
		labelled("n1", "zone=a,rack=1"), labelled("n2", "zone=a,rack=2"), labelled("n3", "zone=a,rack=2"), labelled("n4", "zone=b,rack=3"),
	}
	spread := func(names ...string) (out []core.Spread) {
		for _, n := range names {
			out = append(out, core.Spread{Attribute: n})
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		spread []core.Spread
		want   string
	}{
		{"over nodes without any", nil, "[n1/local n2/local n3/local n4/local]"},
		{"zones", spread("node.labels.zone"), "[n1/local n4/local n2/local n4/local]"},
		{"racks within zones", spread("node.labels.zone", "node.labels.rack"), "[n1/local n4/local n2/local n4/local]"},
		{"racks", spread("node.labels.rack"), "[n1/local n2/local n4/local n3/local]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := web(4, 0, 0)
			req.Spread = tt.spread
			if got, why := NewLedger().Place(req, cluster); fmt.Sprint(got) != tt.want || why != "" {
				t.Errorf("Place = %v, %q\nwant    %s", got, why, tt.want)
			}
		})
	}
}

// What is there already counts, also on nodes that take nothing new.
func TestSpreadCountsWhatIsThere(t *testing.T) {
	cluster := []Target{closed(labelled("n1", "zone=a"), "draining"), labelled("n2", "zone=a"), labelled("n3", "zone=b")}
	l := NewLedger()
	l.Set("x", Claim{Key: Key{"n1", "process", "local"}, Service: "web", Revision: 1})
	l.Set("y", Claim{Key: Key{"n2", "process", "local"}, Service: "web", Revision: 1})
	req := web(3, 0, 0)
	req.Spread = []core.Spread{{Attribute: "node.labels.zone"}}
	if got, _ := l.Place(req, cluster); fmt.Sprint(got) != "[n3/local n3/local n2/local]" {
		t.Errorf("Place = %v", got)
	}
}

// However nodes are labelled: with room everywhere the values of an attribute that is spread over get
// the same number of instances, give or take one.
func TestSpreadIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var cluster []Target
		zones := map[string]string{}
		for i := range rapid.IntRange(1, 8).Draw(t, "nodes") {
			node := fmt.Sprintf("n%d", i)
			zones[node] = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "zone")
			labels := ""
			if zones[node] != "" {
				labels = "zone=" + zones[node]
			}
			cluster = append(cluster, labelled(node, labels))
		}
		req := web(rapid.IntRange(0, 40).Draw(t, "count"), 0, 0)
		req.Spread = []core.Spread{{Attribute: "node.labels.zone"}}
		places, _ := NewLedger().Place(req, cluster)
		counts := map[string]int{}
		for _, z := range zones {
			counts[z] = 0
		}
		for _, k := range places {
			counts[zones[k.Node]]++
		}
		least, most := req.Count, 0
		for _, n := range counts {
			least, most = min(least, n), max(most, n)
		}
		if most-least > 1 || len(places) != req.Count {
			t.Fatalf("%d places: %v", len(places), counts)
		}
	})
}
