package verify

import (
	"slices"
	"strings"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// need is what some checks cannot do without: flags of `instar driver verify`, by which the report calls the options
// too.
type need struct {
	kind       sdk.Kind // of driver; empty: of any
	flag       string
	what       string
	capability sdk.Capability // of no use to drivers without it
	checks     string         // their names, with blanks between
}

var needs = []need{
	{sdk.KindCompute, "-missing", "an artifact that does not exist", "", "resolve/missing-source"},
	{sdk.KindCompute, "-exits", "an instance that ends by itself", "", "create/exited destroy/exited watch/exit"},
	{sdk.KindCompute, "-talks", "an instance that writes lines", sdk.CapLogs, "logs/in-order logs/after-restart logs/callback-error"},
	{sdk.KindCompute, "-fails", "an instance that cannot start", "", "create/failed-leaves-nothing"},
	{sdk.KindCompute, "-stubborn", "an instance that does not stop", "", "destroy/stubborn"},
	{sdk.KindCompute, "-shows", "an instance that writes what it was given", sdk.CapLogs, "env/unchanged mount/unchanged"},
	{sdk.KindCompute, "-mounts", "files to mount", "", "mount/unchanged mount/stays-inside"},
	{sdk.KindCompute, "-holds", "a look at the backend", "", "list/state-lost"},
	{sdk.KindCompute, "-change", "a hand at the backend", "", "fingerprint/drift"},
	{sdk.KindTraffic, "-data-plane", "requests through the routes", "", "switch/weights preview/header switch/under-load " +
		"switch/new-requests-follow switch/weight-zero switch/in-flight observe/counts switch/survives-restart stream/parts " +
		"stream/large-body stream/websocket match/host-and-path remove/refuses-new remove/in-flight remove/drain-deadline " +
		"remove/frees-address apply/no-pools apply/address-in-use observe/errors observe/down observe/counters-kept " +
		"backend/survives-requests"},
	{sdk.KindTraffic, "-data-plane", "requests through the routes", sdk.CapTCP, "stream/tcp"},
	{sdk.KindTraffic, "-data-plane", "requests through the routes", sdk.CapHold, "hold/release hold/limit hold/timeout"},
	{sdk.KindMetrics, "-query", "a query with data", "", "query/window query/repeatable query/cancelled query/value query/time backend/lost"},
	{sdk.KindMetrics, "-empty-query", "a query without data", "", "query/no-data"},
	{sdk.KindMetrics, "-invalid-query", "a query that is refused", "", "query/invalid"},
	{sdk.KindMetrics, "-want", "the value that the query has", "", "query/value"},
	{sdk.KindMetrics, "-stale-query", "a query with old data", "", "query/stale"},
	{"", "-backend-stop and -backend-start", "a backend that can be taken away", "", "probe/lost-backend backend/lost backend/lost-watch " +
		"backend/lost-inside-create backend/lost-inside-destroy backend/survives backend/survives-requests backend/lost-inside-apply"},
	{"", "-backend-slow", "a backend that can be slow", "", "backend/slow"},
}

// given says which flags' options there are.
func (o Options) given() map[string]bool {
	return map[string]bool{
		"-missing": o.Missing != "", "-exits": o.Exits != nil, "-talks": o.Talks != nil, "-fails": o.Fails != nil,
		"-stubborn": o.Stubborn != nil, "-shows": o.Shows != nil, "-mounts": o.Mounts,
		"-holds": o.Backend.Holds != nil, "-change": o.Backend.Change != nil,
		"-data-plane": o.DataPlane, "-query": o.Query != "", "-empty-query": o.Empty != "", "-invalid-query": o.Invalid != "",
		"-want": o.Want != nil, "-stale-query": o.Stale != "",
		"-backend-stop and -backend-start": o.Backend.Stop != nil, "-backend-slow": o.Backend.Slow != nil,
	}
}

// possible is a check, or if there is not all that it needs, a check that says what is lacking. What the driver itself
// lacks, the check says.
func (v *verifier) possible(d sdk.Description, c sdktest.Check) sdktest.Check {
	given := v.options.given()
	var flags, what []string
	for _, n := range needs {
		if n.kind != "" && n.kind != d.Kind || given[n.flag] || !slices.Contains(strings.Fields(n.checks), c.Name) {
			continue
		}
		if n.capability != "" && !slices.Contains(d.Capabilities, n.capability) {
			return c
		}
		flags, what = append(flags, n.flag), append(what, n.what)
	}
	if flags == nil {
		return c
	}
	c.Run = func(t sdktest.T) {
		t.Skipf("not run: it needs %s; give %s", strings.Join(what, ", and "), strings.Join(flags, ", and "))
	}
	return c
}
