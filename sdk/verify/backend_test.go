package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/verify"
)

// atWarehouse is all that the checks can be given for the driver "remote", which may have a fault.
func atWarehouse(t *testing.T, fault string) verify.Options {
	t.Helper()
	dir, commands := startedWarehouse(t)
	behaves := func(how string) json.RawMessage { return json.RawMessage(`{"behaviour": "` + how + `"}`) }
	return verify.Options{
		Target: json.RawMessage(fmt.Sprintf(`{"dir": %q, "fault": %q}`, dir, fault)), Backend: commands.Backend(),
		Artifact: "demo", Missing: "missing", Exits: behaves("exits"), Talks: behaves("talks"), Fails: behaves("fails"),
		Stubborn: behaves("stubborn"), Shows: behaves("shows"), Ports: []string{"http"}, Mounts: true, Rounds: 1,
	}
}

// With all options, every check that is not about a capability that the driver lacks is run on its binary.
func TestEveryCheckRuns(t *testing.T) {
	t.Parallel()
	r, err := verify.Run(t.Context(), install(t, "instar-compute-remote"), atWarehouse(t, ""))
	if err != nil || !r.OK() {
		t.Fatalf("report: %s, %v", table(t, r), err)
	}
	for _, result := range r.Results {
		wantReason(t, result, `capability "artifacts"`)
	}
}

// What only the backend shows is found through the binary, too: by the check that is about it.
func TestWrongDriversAtABackend(t *testing.T) {
	t.Parallel()
	for fault, check := range map[string]string{
		"takes a lost backend for an empty one": "backend/lost",
		"healthy without its backend":           "probe/lost-backend",
		"names things anew each time":           "backend/slow",
		"leaves what could not start":           "create/failed-leaves-nothing",
		"sees no hand":                          "fingerprint/drift",
		"waits for the stubborn":                "destroy/stubborn",
		"knows ASCII only":                      "env/unchanged",
		"forgets mounts":                        "mount/unchanged",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			o := atWarehouse(t, fault)
			o.Only, o.Patience = regexp.MustCompile("^"+check+"$"), 3*time.Second
			r, err := verify.Run(t.Context(), install(t, "instar-compute-remote"), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Results) != 2 || r.Results[1].Name != check || r.Results[1].Status != sdktest.Failed {
				t.Errorf("report: %s", table(t, r))
			}
		})
	}
}

// What a check lacks is said in flags; a driver is not even started for it.
func TestWhatASkippedCheckNeeds(t *testing.T) {
	t.Parallel()
	wants := map[string]string{
		"resolve/missing-source":       "not run: it needs an artifact that does not exist; give -missing",
		"create/failed-leaves-nothing": "not run: it needs an instance that cannot start; give -fails",
		"destroy/stubborn":             "not run: it needs an instance that does not stop; give -stubborn",
		"mount/unchanged":              "not run: it needs an instance that writes what it was given, and files to mount; give -shows, and -mounts",
		"list/state-lost":              "not run: it needs a look at the backend; give -holds",
		"fingerprint/drift":            "not run: it needs a hand at the backend; give -change",
		"backend/lost":                 "not run: it needs a backend that can be taken away; give -backend-stop and -backend-start",
		"backend/slow":                 "not run: it needs a backend that can be slow; give -backend-slow",
	}
	r, err := verify.Run(t.Context(), install(t, "instar-compute-remote"), verify.Options{
		Only: regexp.MustCompile("^(" + strings.Join(slices.Collect(maps.Keys(wants)), "|") + ")$"),
	})
	if err != nil || !r.OK() {
		t.Fatalf("report: %s, %v", table(t, r), err)
	}
	details := map[string]string{}
	for _, result := range r.Results {
		details[result.Name] = result.Detail
	}
	for check, want := range wants {
		if details[check] != want {
			t.Errorf("%s: %q, want %q", check, details[check], want)
		}
	}
}

// A backend that cannot be acted on is no fault of the driver's: nothing is checked, and the flag is named.
func TestCommandsAreTriedFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		commands verify.Commands
		want     []string
	}{
		"a command that fails":       {verify.Commands{Slow: "echo no shaping here >&2; exit 7"}, []string{"before any check: -backend-slow", "exit status 7", "it wrote: no shaping here"}},
		"that writes nothing":        {verify.Commands{Slow: "exit 7"}, []string{"it wrote: nothing"}},
		"that does not exist":        {verify.Commands{Holds: "no-such-program"}, []string{"-holds", "exit status 127", "no-such-program"}},
		"that does not end":          {verify.Commands{Slow: "echo waiting; sleep 600 & wait", Limit: 300 * time.Millisecond}, []string{"-backend-slow", "it did not end within", "waiting"}},
		"holds more than nothing":    {verify.Commands{Holds: "echo 'somebody else'"}, []string{"-holds", `["somebody else"]`, "for a cluster that nothing was created for"}},
		"stops and does not start":   {verify.Commands{Stop: "true", Start: "echo port taken; exit 1"}, []string{"-backend-start", "port taken"}},
		"stops and never starts":     {verify.Commands{Stop: "true"}, []string{"needs both Stop and Start"}},
		"is told of a delay of none": {verify.Commands{Slow: `test "$VERIFY_DELAY_MS" = 0; echo $?; exit 1`}, []string{"it wrote: 0"}},
		"is told who is meant": {
			verify.Commands{Slow: `echo "$VERIFY_TARGET $VERIFY_NODE $VERIFY_GENERATION $VERIFY_CONFIG"; test -d "$VERIFY_STATE_DIR" && echo "$VERIFY_CLUSTER"; exit 1`},
			[]string{"it wrote: verify verify 2 {}\nverify-"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := verify.Run(t.Context(), install(t, "instar-traffic-file"), verify.Options{Backend: c.commands.Backend()})
			if err == nil || r != nil && len(r.Results) > 0 {
				t.Fatalf("it was verified: %v, %v", r, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want %q in it", err, want)
				}
			}
		})
	}
}

// A background process of a command holds nobody up, and goes on when the command has ended.
func TestACommandMayLeaveADaemon(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	b := verify.Commands{Start: "sleep 600 & echo $! > " + file}.Backend()
	if err := b.Start(t.Context(), sdk.ConfigureRequest{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stop := verify.Commands{Stop: "kill " + strings.TrimSpace(string(data))}.Backend()
	if err := stop.Stop(t.Context(), sdk.ConfigureRequest{}); err != nil {
		t.Errorf("the daemon did not go on: %v", err)
	}
}

// Whatever a check leaves behind is put right after it; a backend that stays away ends the verification.
func TestTheBackendComesBack(t *testing.T) {
	t.Parallel()
	var starts, stops int
	report, err := verify.Run(t.Context(), install(t, "instar-traffic-file"), verify.Options{
		Only: regexp.MustCompile("^(backend/survives|list/|configure/)"),
		Backend: verify.Backend{
			Stop: func(context.Context, sdk.ConfigureRequest) error { stops++; return nil },
			Start: func(context.Context, sdk.ConfigureRequest) error {
				if starts++; starts == 2 || starts == 3 {
					return fmt.Errorf("cannot come back")
				}
				return nil
			},
		},
	})
	if err == nil || !strings.Contains(err.Error(), "after backend/survives: the backend is not as it was: cannot come back") {
		t.Errorf("error %v, want one that says what is the matter", err)
	}
	if starts != 3 || stops != 2 {
		t.Errorf("stopped %d times, started %d times; want a trial, a check, and another attempt to start", stops, starts)
	}
	if report == nil || report.OK() {
		t.Errorf("the report is %+v, want the checks until then, with the failure", report)
	}
}
