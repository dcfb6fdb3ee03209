package sdktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Patience of the checks. A contract that says "within a second" is checked with a second of grace, for
// machines that are busy with something else.
const (
	soon     = 2 * time.Second  // after a cancellation, or a change of state
	patience = 30 * time.Second // for work that a backend has to do
)

// commonChecks are those of sdk.Driver. open gives the driver of a fresh fixture, configured, and how.
func commonChecks(kind sdk.Kind, open func(T) (sdk.Driver, sdk.ConfigureRequest)) []Check {
	return []Check{
		{"describe/complete", "Describe is complete, coherent and constant", func(t T) {
			d, _ := open(t)
			checkDescription(t, d, kind)
		}},
		{"configure/idempotent", "Configure with the same request is a no-op", func(t T) {
			d, req := open(t)
			for range 3 {
				if err := d.Configure(t.Context(), req); err != nil {
					t.Fatalf("Configure with the same request: %v", err)
				}
			}
		}},
		{"configure/unknown-attribute", "Configure refuses unknown attributes at their path", func(t T) {
			d, req := open(t)
			req.Config = withAttribute(t, req.Config, "no_such_attribute", `1`)
			wantInvalid(t, d.Configure(t.Context(), req), "no_such_attribute")
		}},
		{"probe/at-once", "Probe answers at once and ends with its context", func(t T) {
			d, _ := open(t)
			checkProbe(t, d)
		}},
		{"probe/callback-error", "an error of Probe's callback ends the call", func(t T) {
			d, _ := open(t)
			enough := errors.New("enough")
			err := within(t, patience, "Probe with a callback that fails", func(ctx context.Context) error {
				return d.Probe(ctx, func(sdk.Health) error { return enough })
			})
			if !errors.Is(err, enough) {
				t.Errorf("Probe returned %v, want the callback's error", err)
			}
		}},
	}
}

func checkDescription(t T, d sdk.Driver, kind sdk.Kind) {
	first, err := d.Describe(t.Context())
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	if first.Kind != kind {
		t.Errorf("kind is %q, want %q", first.Kind, kind)
	}
	if first.Name == "" || first.Version == "" || first.Doc == "" {
		t.Errorf("name %q, version %q and doc %q: none may be empty", first.Name, first.Version, first.Doc)
	}
	if first.Scope != sdk.ScopeNode && first.Scope != sdk.ScopeCluster {
		t.Errorf("scope is %q, want node or cluster", first.Scope)
	}
	for what, schema := range map[string]sdk.Schema{"target": first.Target, "workload": first.Workload} {
		if err := schema.Validate(); err != nil {
			t.Errorf("%s schema: %v", what, err)
		}
	}
	second, err := d.Describe(t.Context())
	if err != nil || !reflect.DeepEqual(plain(first), plain(second)) {
		t.Errorf("a second Describe gives %+v, %v; want what the first gave: %+v", second, err, first)
	}
}

// plain leaves out what reflect cannot compare: cty values hold functions of their own.
func plain(d sdk.Description) sdk.Description {
	strip := func(s sdk.Schema) sdk.Schema {
		var out sdk.Schema
		for _, a := range s {
			out = append(out, sdk.Attribute{Name: a.Name, Required: a.Required, Sensitive: a.Sensitive, Doc: a.Doc})
		}
		return out
	}
	d.Target, d.Workload = strip(d.Target), strip(d.Workload)
	return d
}

func checkProbe(t T, d sdk.Driver) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan sdk.Health, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- d.Probe(ctx, func(h sdk.Health) error {
			select {
			case answers <- h:
			default:
			}
			return nil
		})
	}()
	select {
	case h := <-answers:
		if !h.Healthy && h.Reason == "" {
			t.Errorf("Probe says unhealthy and gives no reason")
		}
		if !h.Healthy {
			t.Errorf("Probe says that a sound target is not healthy: %s", h.Reason)
		}
		if h.Capacity.CPU < 0 || h.Capacity.Memory < 0 {
			t.Errorf("capacity %+v is negative", h.Capacity)
		}
	case err := <-ended:
		t.Fatalf("Probe ended by itself: %v", err)
	case <-time.After(5 * time.Second):
		t.Fatalf("Probe gave no answer within 5s")
	}
	cancel()
	awaitEnd(t, ended, "Probe")
}

// awaitEnd wants a call to be over soon after its context was cancelled.
func awaitEnd(t T, ended <-chan error, call string) {
	t.Helper()
	select {
	case err := <-ended: // any outcome will do
		t.Logf("%s ended with %v", call, err)
	case <-time.After(soon):
		t.Errorf("%s did not return within %s after its context was cancelled", call, soon)
	}
}

// within runs a call with a limit; a call that does not even heed the cancelled context fails the check.
func within(t T, limit time.Duration, what string, call func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- call(ctx) }()
	select {
	case err := <-result:
		return err
	case <-time.After(limit + soon):
		t.Fatalf("%s did not return within %s, and did not heed its cancelled context", what, limit)
		return nil
	}
}

// wantCode wants an error of a certain code.
func wantCode(t T, err error, code sdk.Code, format string, args ...any) {
	t.Helper()
	if got := sdk.CodeOf(err); got != code {
		t.Errorf(format+": %v (code %q), want code %q", append(args, err, got, code)...)
	}
}

// wantInvalid wants InvalidConfig at an attribute.
func wantInvalid(t T, err error, attribute string) {
	t.Helper()
	var e *sdk.Error
	if !errors.As(err, &e) || e.Code != sdk.CodeInvalidConfig {
		t.Errorf("got %v (code %q), want code %q at attribute %q", err, sdk.CodeOf(err), sdk.CodeInvalidConfig, attribute)
		return
	}
	if e.Attribute != attribute {
		t.Errorf("the error %q is about attribute %q, want %q", err, e.Attribute, attribute)
	}
}

// ending is what a check has to put away when it is over: before T's own cleanups, because those may end the
// driver that the check has reopened meanwhile.
type ending struct{ todo []func() }

func (e *ending) atEnd(f func()) { e.todo = append(e.todo, f) }

func (e *ending) tidyUp() {
	for _, f := range slices.Backward(e.todo) {
		f()
	}
}

// newID makes an id that no backend has ever seen.
func newID(prefix string) string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return prefix + "-" + hex.EncodeToString(b[:])
}

// eventually polls until ok holds.
func eventually(t T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
}
