package haproxy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

func fixture(t sdktest.T, wrap func(sdktest.T, sdk.Traffic) sdk.Traffic) sdktest.TrafficFixture {
	var more []any
	if strings.HasSuffix(t.Name(), "/many-endpoints") {
		more = []any{"check_interval", "1s"} // 100,000 checks in a second would be a test of HAProxy
	}
	b := startBalancer(t)
	d := b.driver(more...)
	return sdktest.TrafficFixture{
		Driver: wrap(t, d), Configure: b.configure(more...), DataPlane: true,
		Harness: sdktest.Harness{Rounds: 1, Stop: func(sdktest.T) { b.Kill() }, Start: func(sdktest.T) { b.start() }},
		Unconfigured: func(t sdktest.T) sdk.Traffic {
			b.shut(d)
			d = haproxy.New(haproxy.WithLogger(hclog.NewNullLogger()))
			last := d
			t.Cleanup(func() { b.shut(last) })
			return wrap(t, d)
		},
		Reopen: func(t sdktest.T) sdk.Traffic {
			b.shut(d)
			d = b.driver(more...)
			return wrap(t, d)
		},
	}
}

// wireMatters are the checks of what the driver is told and what it answers. Requests go to HAProxy and not over the
// wire to the driver: the checks of how they fare, of long lists and of odd names are run in process, each with an
// HAProxy of its own; that the wire carries such lists and names is checked in sdktest.
var wireMatters = regexp.MustCompile(
	`^(describe|configure|secrets|probe|observe|list|hold|remove)/|` +
		`^apply/(observed|whole-state|older|same|unknown|schema|invalid|cancelled|crash|survives|no-pools|address)|` +
		`^(backend/lost|limits/empty|switch/in-flight|switch/survives-restart)$`)

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		conform(t, regexp.MustCompile(""), func(_ sdktest.T, d sdk.Traffic) sdk.Traffic { return d })
	})
	t.Run("over gRPC", func(t *testing.T) {
		conform(t, wireMatters, sdktest.ServeTraffic)
	})
}

// conform runs the checks whose names match beside each other: they wait more than they work.
func conform(t *testing.T, which *regexp.Regexp, wrap func(sdktest.T, sdk.Traffic) sdk.Traffic) {
	t.Parallel()
	for _, check := range sdktest.TrafficChecks(func(t sdktest.T) sdktest.TrafficFixture { return fixture(t, wrap) }) {
		if !which.MatchString(check.Name) {
			continue
		}
		t.Run(check.Name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("the contract: %s", check.Promise)
				}
			}()
			check.Run(t)
		})
	}
}
