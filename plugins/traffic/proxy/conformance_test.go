package proxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/proxy"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// newDriver makes a driver for a state directory; it is closed after the test.
func newDriver(t sdktest.T, dir string) *proxy.Driver {
	t.Helper()
	d := proxy.New(proxy.WithExit(func() {}), proxy.WithLogger(hclog.NewNullLogger()))
	if err := d.Configure(t.Context(), configure(dir)); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	t.Cleanup(func() { shut(t, d) })
	return d
}

func configure(dir string) sdk.ConfigureRequest {
	return sdk.ConfigureRequest{Target: "local", Node: "n1", Cluster: "c1", Generation: 1, StateDir: dir}
}

// shut ends a driver at once, as a killed process would end but for its files.
func shut(t sdktest.T, d *proxy.Driver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := d.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func fixture(t sdktest.T, wrap func(sdktest.T, sdk.Traffic) sdk.Traffic) sdktest.TrafficFixture {
	dir := t.TempDir()
	d := newDriver(t, dir)
	return sdktest.TrafficFixture{
		Driver: wrap(t, d), Configure: configure(dir), DataPlane: true,
		Unconfigured: func(t sdktest.T) sdk.Traffic {
			shut(t, d)
			d = proxy.New(proxy.WithExit(func() {}), proxy.WithLogger(hclog.NewNullLogger()))
			last := d
			t.Cleanup(func() { shut(t, last) })
			return wrap(t, d)
		},
		Reopen: func(t sdktest.T) sdk.Traffic {
			shut(t, d)
			d = newDriver(t, dir)
			return wrap(t, d)
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		sdktest.Traffic(t, func(t sdktest.T) sdktest.TrafficFixture {
			return fixture(t, func(_ sdktest.T, d sdk.Traffic) sdk.Traffic { return d })
		})
	})
	t.Run("over gRPC", func(t *testing.T) {
		sdktest.Traffic(t, func(t sdktest.T) sdktest.TrafficFixture {
			return fixture(t, sdktest.ServeTraffic)
		})
	})
}
