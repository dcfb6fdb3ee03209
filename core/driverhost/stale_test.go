package driverhost

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// Two goroutines publish what a session knows: the one that configures it and the one that probes it. The
// first is held up here until the second has published the newer state. A target once stayed "not probed
// yet" for ever that way.
func TestNewerHealthIsNotOverwritten(t *testing.T) {
	h := &Host{
		cfg: Config{StateDir: t.TempDir()}, log: hclog.NewNullLogger(),
		changed: make(chan struct{}, 1), subscribers: map[chan struct{}]struct{}{},
	}
	target, err := newTarget(h, targetKey{core.DriverCompute, "good", "local"})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{trouble: map[string]string{}}
	s.setTrouble("probe", "not probed yet")

	target.mu.Lock()
	published := make(chan struct{})
	go func() {
		defer close(published)
		target.refreshAny(s)
	}()
	awaitBlocked(t, "refreshAny")
	// The probe answers, and its report is published first.
	s.mu.Lock()
	s.health = sdk.Health{Healthy: true}
	s.mu.Unlock()
	s.setTrouble("probe", "")
	target.status.Healthy, target.status.Reason = true, ""
	target.mu.Unlock()
	<-published
	if got := target.snapshot(); !got.Healthy || got.Reason != "" {
		t.Errorf("what was read first was written last: healthy %t, %q", got.Healthy, got.Reason)
	}
}

// awaitBlocked waits until a goroutine is inside function and waits for a lock.
func awaitBlocked(t *testing.T, function string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, function) && strings.Contains(strings.SplitN(stack, "\n", 2)[0], "Mutex.Lock") {
				return
			}
		}
	}
	t.Fatalf("no goroutine waits for a lock in %s", function)
}
