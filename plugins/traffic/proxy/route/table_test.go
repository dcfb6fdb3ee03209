package route_test

import (
	"testing"

	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

func TestTable(t *testing.T) {
	routes := make(map[*route.Route]route.Match)
	add := func(id, host, path string) { routes[route.New(id)] = route.Match{Host: host, Path: path} }
	add("any", "", "")
	add("any-api", "", "/api")
	add("shop", "shop.example", "")
	add("shop-api", "shop.example", "/api")
	add("shop-api-v2", "shop.example", "/api/v2")
	add("v6", "[::1]", "")
	add("only", "only.example", "/in")
	table := route.NewTable(routes)
	for _, c := range []struct{ host, path, want string }{
		{"other", "/", "any"},
		{"", "/", "any"},
		{"other", "/api", "any-api"},
		{"other", "/api/", "any-api"},
		{"other", "/apis", "any"},
		{"shop.example", "/", "shop"},
		{"SHOP.example:8080", "/x", "shop"},
		{"shop.example.", "/x", "shop"},
		{"shop.example", "/api/v1", "shop-api"},
		{"shop.example", "/api/v2/x", "shop-api-v2"},
		{"shop.example", "/api/v20", "shop-api"},
		{"[::1]:443", "/", "v6"},
		{"[::1]", "/", "v6"},
		{"only.example", "/in/x", "only"},
		{"only.example", "/api", "any-api"}, // the host is known, its paths do not match
		// As the endpoint will understand it:
		{"shop.example", "/%61pi/v1", "shop-api"},
		{"shop.example", "/x/../api/v2", "shop-api-v2"},
		{"shop.example", "/x/%2e%2e/api", "shop-api"},
		{"shop.example", "/api/v2/..", "shop-api"},
		{"shop.example", "/api/./v2", "shop-api-v2"},
		{"shop.example", "/../../api", "shop-api"},
		{"shop.example", "/.well-known/x", "shop"},
		{"shop.example", "*", "shop"},
	} {
		r := table.Find([]byte(c.host), []byte(c.path))
		if r == nil || r.ID != c.want {
			t.Errorf("%q %q goes to %v, want %s", c.host, c.path, r, c.want)
		}
	}
	delete(routes, table.Find(nil, []byte("/")))
	if r := route.NewTable(routes).Find([]byte("other"), []byte("/x")); r != nil {
		t.Errorf("a request that matches nothing goes to %s", r.ID)
	}
	if n := testing.AllocsPerRun(100, func() { table.Find([]byte("Shop.example:80"), []byte("/api/v2/x")) }); n > 0 {
		t.Errorf("a look-up allocates %v times", n)
	}
}
