package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
)

// Of picks the entries of one route.
func Of(r *Route, entries []socket.Entry) (own []socket.Entry) {
	for _, e := range entries {
		if strings.HasPrefix(e.Key, r.Name+"/") {
			own = append(own, e)
		}
	}
	return own
}

// Weights are the weights by revision that the entries of a route's map stand for: those of its spec if they
// give these shares, and otherwise the shares that they give, in hundredths of a percent.
func Weights(r *Route, entries []socket.Entry) map[int]int {
	weights := make(map[int]int)
	have, want := Shares(r.Name, entries), Shares(r.Name, r.Entries())
	for _, p := range r.Spec.Pools {
		backend := r.BackendName(r.Pool(p.Revision))
		if weights[p.Revision] = p.Weight; have[backend] != want[backend] {
			weights[p.Revision] = have[backend]
		}
	}
	return weights
}

// Previews says whether the entries of a route's map let a revision be previewed.
func Previews(r *Route, revision int, entries []socket.Entry) bool {
	return slices.Contains(entries, socket.Entry{
		Key: fmt.Sprintf("%s/preview-%d", r.Name, revision), Value: r.BackendName(r.Pool(revision)),
	})
}
