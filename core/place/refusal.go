package place

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// refusal says why not all instances have a place: "wanted 3, room for 1: n1/local: cpu: …".
func refusal(req *Request, placed int, candidates []*candidate, targets []Target) string {
	const most = 5 // targets named
	var causes []string
	for _, c := range candidates {
		causes = append(causes, c.target.String()+": "+c.lacks(req.Resources))
	}
	for i := range targets {
		if t := &targets[i]; !t.Healthy && req.fits(t) {
			if one, _ := req.excluded(t); one == "" {
				causes = append(causes, t.String()+": not healthy: "+t.Reason)
			}
		}
	}
	if len(causes) > most {
		causes = append(causes[:most], fmt.Sprintf("and %d more", len(causes)-most))
	}
	excluded, nodes := exclusions(req, targets)
	switch {
	case nodes == 0:
		what := "driver " + req.Driver
		if req.Target != "" {
			what += ", target " + req.Target
		}
		causes = []string{"no node has " + what}
	case len(causes) == 0:
		causes = []string{fmt.Sprintf("0 of %s: %s", count(nodes, "node", "nodes"), excluded)}
	case excluded != "":
		causes = append(causes, fmt.Sprintf("of %s %s", count(nodes, "node", "nodes"), excluded))
	}
	return fmt.Sprintf("wanted %d, room for %d: %s", req.Count, placed, strings.Join(causes, "; "))
}

// exclusions counts the nodes that may not get anything, by why: "2 lack rack=a, 1 is draining"; nodes
// is how many have the driver. A node counts if none of its targets may.
func exclusions(req *Request, targets []Target) (text string, nodes int) {
	type why struct{ one, several string }
	byNode := map[string]why{}
	for i := range targets {
		t := &targets[i]
		if !req.fits(t) {
			continue
		}
		one, several := req.excluded(t)
		if before, seen := byNode[t.Node]; !seen || before.one != "" {
			byNode[t.Node] = why{one, several}
		}
	}
	counts := map[why]int{}
	for _, w := range byNode {
		if w.one != "" {
			counts[w]++
		}
	}
	reasons := make([]why, 0, len(counts))
	for w := range counts {
		reasons = append(reasons, w)
	}
	slices.SortFunc(reasons, func(a, b why) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a.one, b.one)) })
	parts := make([]string, len(reasons))
	for i, w := range reasons {
		parts[i] = count(counts[w], w.one, w.several)
	}
	return strings.Join(parts, ", "), len(byNode)
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
