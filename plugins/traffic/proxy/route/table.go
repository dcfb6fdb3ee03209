package route

import (
	"bytes"
	"slices"
	"strings"
)

// Match says which requests belong to a route.
type Match struct {
	Host string // lower case, without port; empty: any
	Path string // without a slash at its end; empty: any
}

// Table finds the route of a request among those that share a listener. It never changes.
type Table struct {
	hosts map[string][]entry
	any   []entry
}

type entry struct {
	path  string
	route *Route
}

// NewTable makes a table of the given routes.
func NewTable(routes map[*Route]Match) *Table {
	t := &Table{hosts: make(map[string][]entry)}
	for r, m := range routes {
		e := entry{path: m.Path, route: r}
		if m.Host == "" {
			t.any = append(t.any, e)
		} else {
			t.hosts[m.Host] = append(t.hosts[m.Host], e)
		}
	}
	longest := func(a, b entry) int { return len(b.path) - len(a.path) }
	slices.SortStableFunc(t.any, longest)
	for _, entries := range t.hosts {
		slices.SortStableFunc(entries, longest)
	}
	return t
}

// Find returns the route for an authority and a path as they came in, or nil. An exact host wins over any
// host, then the longest path wins. The path is compared as the endpoint will understand it: with percent
// encoding decoded and dot segments resolved.
func (t *Table) Find(authority, path []byte) *Route {
	if bytes.IndexByte(path, '%') >= 0 || bytes.Contains(path, []byte("/.")) {
		path = normal(path)
	}
	if len(t.hosts) > 0 {
		var room [256]byte
		if r := find(t.hosts[string(hostname(room[:0], authority))], path); r != nil {
			return r
		}
	}
	return find(t.any, path)
}

// Only returns the single route of a TCP listener, or nil.
func (t *Table) Only() *Route {
	if len(t.any) == 0 {
		return nil
	}
	return t.any[0].route
}

func find(entries []entry, path []byte) *Route {
	for i := range entries {
		if p := entries[i].path; len(path) >= len(p) && string(path[:len(p)]) == p &&
			(len(path) == len(p) || path[len(p)] == '/' || p == "") {
			return entries[i].route
		}
	}
	return nil
}

// hostname appends the host of an authority in lower case, without port and without the dot that ends a
// fully qualified name.
func hostname(dst, authority []byte) []byte {
	if i := bytes.LastIndexByte(authority, ':'); i >= 0 && bytes.IndexByte(authority[i:], ']') < 0 {
		authority = authority[:i]
	}
	authority = bytes.TrimSuffix(authority, []byte("."))
	for _, b := range authority {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// normal decodes a path and resolves its dot segments (RFC 3986 sections 2.1 and 5.2.4). Invalid escapes
// have been refused before.
func normal(path []byte) []byte {
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			decoded = append(decoded, unhex(path[i+1])<<4|unhex(path[i+2]))
			i += 2
			continue
		}
		decoded = append(decoded, path[i])
	}
	segments := strings.Split(string(decoded), "/")
	kept := segments[:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
			if last {
				kept = append(kept, "")
			}
		case "..":
			if len(kept) > 1 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return []byte(strings.Join(kept, "/"))
}

func unhex(b byte) byte {
	switch {
	case b >= 'a':
		return b - 'a' + 10
	case b >= 'A':
		return b - 'A' + 10
	}
	return b - '0'
}
