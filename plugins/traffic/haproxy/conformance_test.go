package haproxy_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

func fixture(t sdktest.T, wrap func(sdktest.T, sdk.Traffic) sdk.Traffic) sdktest.TrafficFixture {
	b := startBalancer(t)
	d := b.driver()
	return sdktest.TrafficFixture{
		Driver: wrap(t, d), Configure: b.configure(), DataPlane: true,
		Harness: sdktest.Harness{Rounds: 2, Stop: func(sdktest.T) { b.Kill() }, Start: func(sdktest.T) { b.start() }},
		Unconfigured: func(t sdktest.T) sdk.Traffic {
			b.shut(d)
			d = haproxy.New(haproxy.WithLogger(hclog.NewNullLogger()))
			last := d
			t.Cleanup(func() { b.shut(last) })
			return wrap(t, d)
		},
		Reopen: func(t sdktest.T) sdk.Traffic {
			b.shut(d)
			d = b.driver()
			return wrap(t, d)
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Traffic(t, func(t sdktest.T) sdktest.TrafficFixture {
			return fixture(t, func(_ sdktest.T, d sdk.Traffic) sdk.Traffic { return d })
		})
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Traffic(t, func(t sdktest.T) sdktest.TrafficFixture {
			return fixture(t, sdktest.ServeTraffic)
		})
	})
}
