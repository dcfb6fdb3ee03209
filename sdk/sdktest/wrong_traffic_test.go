package sdktest_test

import (
	"testing"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// wrongTraffic are traffic drivers with one fault each, and the check that must find it.
var wrongTraffic = []wrong{
	// I7
	{"accepts an older generation", "apply/older-generation"},
	{"ignores an older generation", "apply/older-generation"},
	{"calls a conflict internal", "apply/older-generation"},
	{"applies the same generation again", "apply/same-generation"},
	{"forgets generations at restart", "apply/older-generation-after-restart"},
	{"remove forgets the generation", "remove/older-apply"},
	{"forgets generations at restart", "apply/crash-inside"},
	{"remove forgets the generation", "remove/crash-inside"},
	{"accepts an older remove", "remove/older-generation"},
	{"mixes generations", "apply/concurrent-generations"},
	{"leaves half of a cancelled apply", "apply/cancelled-inside"},
	{"takes a cancelled apply for an applied one", "apply/cancelled"},
	{"does not look at its context", "apply/cancelled"},
	{"does not look at its context", "apply/cancelled-inside"},
	{"leaves half of an apply when the data plane is lost", "backend/lost-inside-apply"},
	{"forgets routes at restart", "apply/survives-restart"},
	{"forgets routes at restart", "list/complete-after-restart"},
	{"comes back with an older state", "backend/survives"},
	{"comes back with an older state", "backend/survives-requests"},
	{"accepts an older generation of the cluster", "configure/older-generation"},
	{"forgets the generation of the cluster at restart", "configure/older-generation-after-restart"},
	// I5
	{"cuts requests in flight at a switch", "switch/in-flight"},
	{"cuts requests in flight at a switch", "stream/websocket"},
	{"cuts requests in flight at a switch", "stream/tcp"},
	{"cuts requests in flight at remove", "remove/in-flight"},
	{"does not report what is draining", "switch/in-flight"},
	{"draining requests never end", "switch/in-flight"},
	{"never ends what outlives the drain", "remove/drain-deadline"},
	// I8
	{"returns before requests follow", "switch/new-requests-follow"},
	{"returns before requests follow", "switch/under-load"},
	{"a held request fails over quickly", "hold/release"},
	{"ignores the limit of a hold", "hold/limit"},
	{"a hold never ends", "hold/timeout"},
	{"keeps an answer until it is whole", "stream/parts"},
	{"its data plane ends with the process", "switch/survives-restart"},
	{"passes on the first MiB of a body", "stream/large-body"},
	{"waits where there is nobody to send to", "apply/no-pools"},
	{"calls a route without pools unknown", "apply/no-pools"},
	// What goes where.
	{"apply is a step", "apply/whole-state"},
	{"ignores weights", "switch/weights"},
	{"ignores weights", "switch/weight-zero"},
	{"a removed route goes on", "remove/after-restart"},
	{"remove is not idempotent", "remove/unknown-route"},
	{"passes the preview header on", "preview/header"},
	{"preview is reachable when it is not set", "preview/header"},
	{"the shortest path wins", "match/host-and-path"},
	{"a removed route goes on", "remove/refuses-new"},
	{"remove is not idempotent", "remove/idempotent"},
	{"remove ends all routes", "apply/independent"},
	{"keeps the address of a removed route", "remove/frees-address"},
	{"says that it listens where it cannot", "apply/address-in-use"},
	{"tries an address only once", "apply/address-in-use"},
	{"holds what there is not", "hold/unknown-route"},
	{"holds without saying so", "hold/unsupported"},
	// What is said.
	{"observes from memory", "observe/counts"},
	{"observes from memory", "backend/lost"},
	{"observes what there is not", "observe/unknown-route"},
	{"does not observe previews", "apply/observed"},
	{"ignores callbacks' errors", "probe/callback-error"},
	{"says yes without the data plane", "backend/lost"},
	{"list misses routes", "list/complete-after-restart"},
	{"does not count errors", "observe/errors"},
	{"counters begin anew with every apply", "observe/counters-kept"},
	{"a dead endpoint is up", "observe/down"},
	{"healthy without its backend", "probe/lost-backend"},
	{"gives no reason", "probe/lost-backend"},
	{"probe blocks on cancel", "probe/at-once"},
	{"blocks on cancel", "backend/slow"},
	// What is refused.
	{"accepts any route", "apply/invalid"},
	{"accepts unknown attributes", "apply/unknown-attribute"},
	{"accepts unknown attributes", "configure/unknown-attribute"},
	{"accepts values of a wrong type", "apply/schema"},
	{"accepts values of a wrong type", "configure/schema"},
	{"names the wrong attribute", "apply/unknown-attribute"},
	{"wrong code for a wrong configuration", "configure/unknown-attribute"},
	{"promises an attribute that it does not know", "configure/schema"},
	{"is lost after a refused Configure", "configure/schema"},
	{"a second Configure is refused", "configure/idempotent"},
	{"panics on empty input", "limits/empty"},
	{"mangles unicode", "limits/ids"},
	{"truncates at a limit", "apply/many-endpoints"},
	// What is left, and what is told.
	{"leaks files", "leaks/state-directory"},
	{"leaks what the process holds", "leaks/process"},
	{"repeats a secret in an error", "secrets/configure"},
	{"repeats a secret in an error", "secrets/workload"},
	{"logs what it is given", "secrets/workload"},
	{"describes itself anew each time", "describe/complete"},
	{"describes itself anew each time", "describe/before-configure"},
	{"describes itself only when it is configured", "describe/before-configure"},
	{"has a capability of another kind", "describe/complete"},
	{"its secret has a default", "describe/complete"},
}

func TestWrongTrafficDrivers(t *testing.T) {
	t.Parallel()
	mustAllFail(t, wrongTraffic, func(fault string) []sdktest.Check {
		return sdktest.TrafficChecks(soundTrafficFixture(fault, true, direct[sdk.Traffic]))
	})
}
