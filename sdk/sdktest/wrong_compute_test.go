package sdktest_test

import (
	"testing"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// wrongCompute are compute drivers with one fault each, and the check that must find it.
var wrongCompute = []wrong{
	// I4
	{"creates twice", "create/same-id-once"},
	{"creates twice", "create/cancelled-inside"},
	{"creates twice after a restart", "create/same-id-once-after-restart"},
	{"creates twice after a restart", "create/crash-inside"},
	{"creates twice after an outage", "backend/lost-inside-create"},
	{"does not lock", "create/concurrent-same-id"},
	{"leaks on a failed create", "create/failed-leaves-nothing"},
	{"leaks on a cancelled create", "create/cancelled-inside"},
	{"goes on behind a cancelled create", "create/cancelled-then-destroyed"},
	{"an exited instance is started again", "create/exited"},
	{"forgets what was destroyed", "create/destroyed-id"},
	{"forgets what was destroyed", "destroy/crash-inside"},
	{"destroy is not idempotent", "destroy/leaves-nothing"},
	{"destroy is not idempotent", "destroy/unknown-id"},
	{"destroy leaves it there", "destroy/leaves-nothing"},
	{"destroy leaves it there", "destroy/after-restart"},
	{"destroy leaves it there", "destroy/exited"},
	{"destroy leaves it there", "destroy/concurrent"},
	{"destroy leaves it there", "create/racing-destroy"},
	{"destroy leaves it there", "create/crash-then-destroyed"},
	{"destroy leaves it there", "backend/lost-inside-destroy"},
	{"destroy leaves it there", "watch/create-destroy"},
	{"destroy waits for a stubborn instance", "destroy/stubborn"},
	{"kills at once", "destroy/stubborn"},
	{"destroy does not heed its context", "destroy/cancelled"},
	{"list misses instances", "list/complete-after-restart"},
	{"lists what it remembers", "list/complete-after-restart"},
	{"lists what it remembers", "list/state-lost"},
	{"lists running instances only", "list/by-cluster"},
	{"lists other clusters' instances", "list/other-cluster"},
	{"lists other clusters' instances", "list/by-cluster"},
	{"destroys another cluster's instance", "list/other-cluster"},
	{"prunes another cluster's instances", "list/other-cluster"},
	{"takes a lost backend for an empty one", "backend/lost"},
	{"takes a lost backend for an empty one", "backend/lost-watch"},
	{"says yes without the backend", "backend/lost"},
	{"blocks on cancel", "backend/slow"},
	// I3
	{"an id with another revision succeeds", "create/other-revision"},
	{"the fingerprint never changes", "fingerprint/stable"},
	{"the fingerprint changes by itself", "fingerprint/stable"},
	{"the fingerprint does not see a hand", "fingerprint/drift"},
	{"configure ends what runs", "configure/leaves-instances"},
	{"prunes what is in use", "prune/keeps-used"},
	{"destroys all", "destroy/leaves-others"},
	// I7
	{"accepts an older generation of the cluster", "configure/older-generation"},
	{"forgets the generation of the cluster at restart", "configure/older-generation-after-restart"},
	// What is said.
	{"forgets labels", "create/running"},
	{"forgets labels", "inspect/labels"},
	{"running too early", "create/running"},
	{"healthy without its backend", "probe/lost-backend"},
	{"gives no reason", "probe/lost-backend"},
	{"calls an unknown id internal", "inspect/unknown-id"},
	{"watches late", "watch/present-state"},
	{"does not report exits", "watch/exit"},
	{"streams never end", "streams/end-on-cancel"},
	{"ignores callbacks' errors", "streams/callback-error"},
	{"probe blocks on cancel", "probe/at-once"},
	{"following never ends", "logs/follow-ends"},
	{"logs backwards", "logs/in-order"},
	{"usage goes back", "usage/grows"},
	{"resolves anew each time", "resolve/pins"},
	{"ignores the checksum", "resolve/wrong-checksum"},
	{"calls a missing source internal", "resolve/missing-source"},
	{"fetch is not idempotent", "fetch/idempotent"},
	// What instances are given.
	{"mangles unicode", "env/unchanged"},
	{"truncates at a limit", "limits/env"},
	{"does not replace placeholders", "env/unchanged"},
	{"passes unknown placeholders on", "env/unknown-placeholder"},
	{"a mount may be anywhere", "mount/stays-inside"},
	// What is refused.
	{"makes what it refuses", "create/unknown-attribute"},
	{"accepts unknown attributes", "create/unknown-attribute"},
	{"accepts unknown attributes", "create/schema"},
	{"accepts values of a wrong type", "create/schema"},
	{"names the wrong attribute", "create/unknown-attribute"},
	{"wrong code for a wrong configuration", "create/schema"},
	{"panics on empty input", "limits/empty"},
	// What is left, and what is told.
	{"leaks files", "leaks/state-directory"},
	{"leaks what the process holds", "leaks/process"},
	{"keeps what it was given", "destroy/leaves-no-data"},
	{"shows what it was given", "secrets/instance"},
	{"repeats the environment in an error", "secrets/instance"},
	{"repeats a secret in an error", "secrets/workload"},
	{"logs what it is given", "secrets/workload"},
	{"logs what it is given", "secrets/configure"},
	{"its secret has a default", "describe/complete"},
}

func TestWrongComputeDrivers(t *testing.T) {
	t.Parallel()
	mustAllFail(t, wrongCompute, func(fault string) []sdktest.Check {
		return sdktest.ComputeChecks(soundComputeFixture(fault, true, direct[sdk.Compute]))
	})
}
