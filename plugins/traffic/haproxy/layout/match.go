package layout

import (
	"strings"

	"github.com/instarhq/instar/sdk"
)

// Match says which requests belong to a route.
type Match struct {
	Host string // lower case, without port; empty: any
	Path string // without a slash at its end; empty: any
}

// MatchOf is the match of an HTTP route; ok is false for TCP.
func MatchOf(r sdk.Route) (m Match, ok bool) {
	if r.Protocol != sdk.ProtocolHTTP {
		return m, false
	}
	m.Host = strings.TrimSuffix(strings.ToLower(r.Host), ".")
	m.Path = strings.TrimRight(r.Path, "/")
	return m, true
}
