package sdktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

// commonChecks are those of sdk.Driver. open gives a fresh fixture with its driver configured.
func commonChecks(kind sdk.Kind, open func(T) commonFixture) []Check {
	checks := []Check{
		{"describe/complete", "Describe is complete, coherent and constant", func(t T) {
			checkDescription(t, open(t).driver, kind)
		}},
		{"describe/before-configure", "Describe needs no configuration", func(t T) {
			f := open(t)
			checkDescription(t, f.fresh(t), kind)
		}},
		{"configure/idempotent", "Configure with the same request is a no-op", func(t T) {
			f := open(t)
			for range 3 {
				if err := f.driver.Configure(t.Context(), f.request); err != nil {
					t.Fatalf("Configure with the same request: %v", err)
				}
			}
		}},
		{"configure/unknown-attribute", "Configure refuses unknown attributes at their path", func(t T) {
			f := open(t)
			req := f.request
			req.Config = withAttribute(t, req.Config, "no_such_attribute", `1`)
			wantInvalid(t, f.driver.Configure(t.Context(), req), "no_such_attribute")
		}},
		{"configure/schema", "Configure refuses what Describe's target schema does not allow, and goes on as before", func(t T) {
			f := open(t)
			try := func(config json.RawMessage) error {
				req := f.request
				req.Config = config
				return f.driver.Configure(t.Context(), req)
			}
			checkRefusals(t, refusals(t, describe(t.Context(), t, f.driver).Target, f.request.Config), try)
			if err := try(f.request.Config); err != nil {
				t.Errorf("Configure with the sound request after refused ones: %v", err)
			}
		}},
		{"secrets/configure", "an error or log line of Configure never repeats a sensitive value", func(t T) {
			f := open(t)
			secret := newID("s3cret")
			tried := checkSecrets(t, describe(t.Context(), t, f.driver).Target, f.request.Config, secret, func(config json.RawMessage) error {
				req := f.request
				req.Config = config
				return f.driver.Configure(t.Context(), req)
			})
			if tried == 0 {
				t.Skipf("not run: no attribute of the target's schema is sensitive")
			}
			f.wantNotLogged(t, secret)
		}},
		{"probe/at-once", "Probe answers at once and ends with its context", func(t T) {
			f := open(t)
			checkProbe(t, f.Harness, f.driver)
		}},
		{"probe/callback-error", "an error of Probe's callback ends the call", func(t T) {
			f := open(t)
			enough := errors.New("enough")
			err := within(t, f.patience(), "Probe with a callback that fails", func(ctx context.Context) error {
				return f.driver.Probe(ctx, func(sdk.Health) error { return enough })
			})
			if !errors.Is(err, enough) {
				t.Errorf("Probe returned %v, want the callback's error", err)
			}
		}},
		{"probe/lost-backend", "Probe says healthy only while the backend is there, and why it is not otherwise", func(t T) {
			checkProbeOutage(t, open(t))
		}},
	}
	if kind != sdk.KindMetrics {
		checks = append(checks, generationChecks(open)...)
	}
	return checks
}

// generationChecks are about the generation of the cluster, which fences a daemon that was restored from the past.
func generationChecks(open func(T) commonFixture) []Check {
	refused := func(t T, d sdk.Driver, req sdk.ConfigureRequest, generation uint64) {
		t.Helper()
		req.Generation = generation
		wantCode(t, d.Configure(t.Context(), req), sdk.CodeConflict, "Configure with generation %d after a higher one", generation)
	}
	return []Check{
		{"configure/older-generation", "I7: Configure refuses an older generation of the cluster", func(t T) {
			f := open(t)
			f.request.Generation++
			if err := f.driver.Configure(t.Context(), f.request); err != nil {
				t.Fatalf("Configure with a newer generation: %v", err)
			}
			refused(t, f.driver, f.request, f.request.Generation-1)
			if err := f.driver.Configure(t.Context(), f.request); err != nil {
				t.Errorf("Configure with the present generation after an older one: %v", err)
			}
		}},
		{"configure/older-generation-after-restart", "I7: a fresh process refuses an older generation of the cluster", func(t T) {
			f := open(t)
			f.request.Generation++
			if err := f.driver.Configure(t.Context(), f.request); err != nil {
				t.Fatalf("Configure with a newer generation: %v", err)
			}
			d := f.fresh(t)
			refused(t, d, f.request, f.request.Generation-1)
			if err := d.Configure(t.Context(), f.request); err != nil {
				t.Errorf("Configure of a fresh process with the newest generation: %v", err)
			}
		}},
	}
}

func checkDescription(t T, d sdk.Driver, kind sdk.Kind) {
	t.Helper()
	first := describe(t.Context(), t, d)
	if first.Kind != kind {
		t.Errorf("kind is %q, want %q", first.Kind, kind)
	}
	if first.Doc == "" {
		t.Errorf("doc is empty: it is what `instar driver docs` begins with")
	}
	if !driverName.MatchString(first.Name) {
		t.Errorf("name is %q, want a-z, 0-9 and -: it is part of the binary's name", first.Name)
	}
	if !semanticVersion.MatchString(first.Version) {
		t.Errorf("version is %q, want a semantic version", first.Version)
	}
	if first.Scope != sdk.ScopeNode && first.Scope != sdk.ScopeCluster {
		t.Errorf("scope is %q, want node or cluster", first.Scope)
	}
	for n, c := range first.Capabilities {
		if !slices.Contains(capabilitiesOf[kind], c) || slices.Contains(first.Capabilities[:n], c) {
			t.Errorf("capability %q is none of a %s driver, or is declared twice", c, kind)
		}
	}
	checkSchemas(t, first)
	second, err := d.Describe(t.Context())
	if err != nil || !sameDescription(first, second) {
		t.Errorf("a second Describe gives %+v, %v; want what the first gave: %+v", second, err, first)
	}
}

var (
	driverName      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	semanticVersion = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	capabilitiesOf  = map[sdk.Kind][]sdk.Capability{
		sdk.KindCompute: {sdk.CapLogs, sdk.CapUsage, sdk.CapArtifacts},
		sdk.KindTraffic: {sdk.CapHold, sdk.CapHTTP, sdk.CapTCP, sdk.CapTLS},
	}
)

// sameDescription compares two descriptions; reflect alone cannot, for cty values hold functions of their own.
func sameDescription(a, b sdk.Description) bool {
	same := func(a, b sdk.Attribute) bool {
		return a.Name == b.Name && a.Required == b.Required && a.Sensitive == b.Sensitive && a.Doc == b.Doc &&
			a.Type.Equals(b.Type) && (a.Default == cty.NilVal) == (b.Default == cty.NilVal) &&
			(a.Default == cty.NilVal || a.Default.RawEquals(b.Default))
	}
	if !slices.EqualFunc(a.Target, b.Target, same) || !slices.EqualFunc(a.Workload, b.Workload, same) {
		return false
	}
	a.Target, a.Workload, b.Target, b.Workload = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

func checkProbe(t T, h *Harness, d sdk.Driver) {
	t.Helper()
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
	case <-time.After(h.soon() + 3*time.Second):
		t.Fatalf("Probe gave no answer within %s", h.soon()+3*time.Second)
	}
	cancel()
	awaitEnd(t, h.soon(), ended, "Probe")
}

// checkProbeOutage follows the health of a target whose backend goes away and comes back.
func checkProbeOutage(t T, f commonFixture) {
	t.Helper()
	var e ending
	defer e.tidyUp()
	f.needsOutage(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last atomic.Pointer[sdk.Health]
	ended := make(chan error, 1)
	go func() {
		ended <- f.driver.Probe(ctx, func(h sdk.Health) error {
			last.Store(&h)
			return nil
		})
	}()
	says := func(healthy bool) func() bool {
		return func() bool {
			h := last.Load()
			return h != nil && h.Healthy == healthy
		}
	}
	eventually(t, f.patience(), "Probe says healthy", says(true))
	over := f.outage(t, &e)
	eventually(t, f.patience(), "Probe says that the backend is gone", says(false))
	if last.Load().Reason == "" {
		t.Errorf("Probe says unhealthy and gives no reason")
	}
	over()
	eventually(t, f.patience(), "Probe says that the backend is back", says(true))
	cancel()
	awaitEnd(t, f.soon(), ended, "Probe")
}

// wantNotLogged wants the driver's log not to have a secret.
func (h *Harness) wantNotLogged(t T, secret string) {
	t.Helper()
	if h.Log != nil {
		wantNoSecret(t, "the driver's log", h.Log(t), secret)
	}
}

// awaitEnd wants a call to be over soon after its context was cancelled.
func awaitEnd(t T, limit time.Duration, ended <-chan error, call string) {
	t.Helper()
	select {
	case err := <-ended: // any outcome will do
		t.Logf("%s ended with %v", call, err)
	case <-time.After(limit):
		t.Errorf("%s did not return within %s after its context was cancelled", call, limit)
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

// throughout wants ok to hold for a while: for what must not come true later.
func throughout(t T, span time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(span); time.Now().Before(end); {
		if !ok() {
			t.Fatalf("no longer true: %s", what)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
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

// clip shortens a text for a message.
func clip(text string) string {
	if len(text) > 80 {
		return strconv.Quote(text[:80]) + "…"
	}
	return strconv.Quote(text)
}

// plain is any value as text.
func plain(value any) string { return fmt.Sprint(value) }
