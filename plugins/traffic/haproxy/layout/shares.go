package layout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
)

// parts is the number of equal parts that new requests are drawn from: a pool's share is a multiple of a
// hundredth of a percent.
const parts = 10000

// Entries are the lines of the map for the whole state, in their order. A key is
//
//	@LISTEN/HOST/PATH/   the name of the route for that host ("*": any) and path
//	NAME/generation      the route's generation
//	NAME/preview-N       the backend of revision N, if it may be previewed
//	NAME/DIGITS          the backend of the requests whose number, drawn from 10000 to 19999, begins so;
//	                     of several the longest counts. So NAME/1 is every request, NAME/10 a tenth.
func (s State) Entries() []socket.Entry {
	var entries []socket.Entry
	for _, r := range s.Ordered() {
		if key := matchKey(r); key != "" {
			entries = append(entries, socket.Entry{Key: key, Value: r.Name})
		}
		entries = append(entries, r.Entries()...)
	}
	return entries
}

// Entries are the lines of the map for one route but for its host and path.
func (r *Route) Entries() []socket.Entry {
	entries := []socket.Entry{{Key: r.Name + "/generation", Value: strconv.FormatUint(r.Spec.Generation, 10)}}
	var backends []string
	var weights []int
	for _, p := range r.Spec.Pools {
		backend := r.BackendName(r.Pool(p.Revision))
		if p.Preview {
			entries = append(entries, socket.Entry{Key: fmt.Sprintf("%s/preview-%d", r.Name, p.Revision), Value: backend})
		}
		if p.Weight > 0 && len(p.Endpoints) > 0 {
			backends, weights = append(backends, backend), append(weights, p.Weight)
		}
	}
	for _, share := range cover(backends, divide(weights)) {
		entries = append(entries, socket.Entry{Key: r.Name + "/" + share.Key, Value: share.Value})
	}
	return entries
}

// divide gives each weight its share of parts: at least one, and in all exactly parts.
func divide(weights []int) []int {
	total := 0
	for _, w := range weights {
		total += w
	}
	if total == 0 {
		return nil
	}
	shares, given, largest := make([]int, len(weights)), 0, 0
	for i, w := range weights {
		shares[i] = max(1, (w*parts+total/2)/total)
		given += shares[i]
		if w > weights[largest] {
			largest = i
		}
	}
	shares[largest] += parts - given // what rounding left over is nothing to the largest
	return shares
}

// cover expresses shares as prefixes of the numbers from 10000 to 19999; the largest is the shortest
// prefix, which the others make exceptions of.
func cover(backends []string, shares []int) []socket.Entry {
	if len(backends) == 0 {
		return nil
	}
	largest := slices.Index(shares, slices.Max(shares))
	entries := []socket.Entry{{Key: "1", Value: backends[largest]}}
	from := parts
	for i, backend := range backends {
		if i == largest {
			continue
		}
		for _, prefix := range prefixes(from, from+shares[i]) {
			entries = append(entries, socket.Entry{Key: prefix, Value: backend})
		}
		from += shares[i]
	}
	return entries
}

// prefixes are the fewest decimal prefixes of five-digit numbers that cover [from, to).
func prefixes(from, to int) (list []string) {
	for from < to {
		step := 1
		for from%(step*10) == 0 && from+step*10 <= to {
			step *= 10
		}
		list = append(list, strconv.Itoa(from/step))
		from += step
	}
	return list
}

// Shares reads back from a map what share of new requests, in parts, each backend of a route gets.
func Shares(route string, entries []socket.Entry) map[string]int {
	shares := make(map[string]int)
	size := func(key string) int {
		n := parts
		for range len(key) - 1 {
			n /= 10
		}
		return n
	}
	values := make(map[string]string)
	for _, e := range entries {
		if key, ok := strings.CutPrefix(e.Key, route+"/"); ok && strings.HasPrefix(key, "1") {
			values[key] = e.Value
		}
	}
	for key, value := range values {
		shares[value] += size(key)
		for n := len(key) - 1; n > 0; n-- { // the next shorter prefix loses what the longer one takes
			if other, ok := values[key[:n]]; ok {
				shares[other] -= size(key)
				break
			}
		}
	}
	return shares
}

// matchKey is the key by which the requests of an HTTP route are found; empty for TCP.
func matchKey(r *Route) string {
	m, ok := MatchOf(r.Spec)
	if !ok {
		return ""
	}
	host := m.Host
	if host == "" {
		host = "*"
	}
	return "@" + r.Spec.Listen + "/" + host + m.Path + "/"
}

// MapText is the content of the map file.
func MapText(entries []socket.Entry) []byte {
	var b strings.Builder
	b.WriteString("# Written by instar's haproxy driver, which keeps it the same as in HAProxy's memory.\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %s\n", e.Key, e.Value)
	}
	return []byte(b.String())
}
