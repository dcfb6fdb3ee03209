package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// lab is what drivers with faults of both kinds have in common.
type lab struct {
	fault      string
	described  atomic.Int64
	configured atomic.Int64
	refused    atomic.Bool  // a Configure was; only faults look at it
	held       atomic.Int64 // what the process holds and should not

	mu  sync.Mutex
	log string
}

func newLab(fault string) *lab { return &lab{fault: fault} }

// harness lets the suite act behind the drivers' back. The quick one is for drivers that must fail.
func (l *lab) harness(quick bool, mu *sync.Mutex, delay *time.Duration, stop func(), start func() error) sdktest.Harness {
	h := sdktest.Harness{
		Stop: func(sdktest.T) { stop() },
		Start: func(t sdktest.T) {
			if err := start(); err != nil {
				t.Fatalf("%v", err)
			}
		},
		Slow: func(_ sdktest.T, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			*delay = d
		},
		Log: func(sdktest.T) string {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.log
		},
		Footprint: func(sdktest.T) int { return int(l.held.Load()) },
		Rounds:    3,
	}
	if quick {
		h.Patience, h.Soon = 2*time.Second, 500*time.Millisecond
	}
	return h
}

// configure is decode for a target's configuration.
func (l *lab) configure(config json.RawMessage) error {
	if l.fault == "a second Configure is refused" && l.configured.Add(1) > 1 {
		return sdk.Conflict("it is configured already")
	}
	if err := l.decode(targetSchema, config); err != nil {
		l.refused.Store(true)
		return err
	}
	if l.fault == "is lost after a refused Configure" && l.refused.Load() {
		return sdk.Unavailable(time.Second, "it waits for a better configuration")
	}
	return nil
}

// decode is sdk.Decode, where nothing is wrong.
func (l *lab) decode(schema sdk.Schema, config json.RawMessage) error {
	if l.fault == "logs what it is given" {
		l.mu.Lock()
		l.log += string(config)
		l.mu.Unlock()
	}
	var members map[string]any
	err := sdk.Decode(schema, config, &members)
	var e *sdk.Error
	if !errors.As(err, &e) {
		return err
	}
	_, known := schema.Attribute(e.Attribute)
	switch {
	case l.fault == "accepts unknown attributes" && !known:
		return nil
	case l.fault == "names the wrong attribute":
		e.Attribute = "config"
	case l.fault == "accepts values of a wrong type" && known:
		return nil
	case l.fault == "repeats a secret in an error":
		return sdk.InvalidConfig(e.Attribute, "%s: cannot read %s", e.Message, config)
	case l.fault == "wrong code for a wrong configuration":
		return sdk.Conflict("%s", e.Message)
	}
	return err
}

// spoil is what is wrong with a description.
func (l *lab) spoil(desc sdk.Description) sdk.Description {
	n := l.described.Add(1)
	switch l.fault {
	case "holds without saying so":
		desc.Capabilities = slices.DeleteFunc(desc.Capabilities, func(c sdk.Capability) bool { return c == sdk.CapHold })
	case "describes itself anew each time":
		desc.Version = fmt.Sprintf("1.0.%d", n)
	case "has a capability of another kind":
		desc.Capabilities = append(desc.Capabilities, "teleport")
	case "its secret has a default":
		desc.Target = append(sdk.Schema{{Name: "password", Type: cty.String, Sensitive: true, Default: cty.StringVal("letmein"), Doc: "Secret."}}, desc.Target...)
	case "promises an attribute that it does not know":
		desc.Target = append(sdk.Schema{{Name: "must", Type: cty.String, Required: true, Doc: "Needed."}}, desc.Target...)
	}
	return desc
}

// probe reports the health at every change.
func (l *lab) probe(ctx context.Context, reachable func() bool, report func(sdk.Health) error) error {
	if l.fault == "probe blocks on cancel" {
		ctx = context.WithoutCancel(ctx)
	}
	said := false
	for first := true; ; first = false {
		healthy := reachable() || l.fault == "healthy without its backend"
		if first || healthy != said {
			h := sdk.Health{Healthy: healthy}
			if !healthy && l.fault != "gives no reason" {
				h.Reason = "the backend does not answer"
			}
			if err := report(h); err != nil && l.fault != "ignores callbacks' errors" {
				return err
			}
			said = healthy
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// leak leaves behind what nobody takes away.
func (l *lab) leak(dir, id string) {
	switch l.fault {
	case "leaks files":
		for n := range 3 {
			_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("left-%s-%d", id, n)), nil, 0o600) //nolint:gosec // a test's own id
		}
	case "leaks what the process holds":
		l.held.Add(1)
	}
}
