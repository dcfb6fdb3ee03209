package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// driverMetrics are what is counted as drivers are called.
type driverMetrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newDriverMetrics() driverMetrics {
	return driverMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_driver_calls_total", Help: "Calls of this node's drivers that have ended, by method and outcome: ok, or the error's code. not_found can be a good answer.",
		}, []string{"kind", "driver", "target", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "instar_driver_call_duration_seconds", Help: "Until a driver answered, streams aside.",
			Buckets: []float64{.001, .005, .025, .1, .25, 1, 2.5, 10, 60, 300},
		}, []string{"kind", "driver", "method"}),
	}
}

func (m *driverMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.duration}
}

// Called implements driverhost.Observer.
func (t *Telemetry) Called(kind core.DriverKind, driver, target, method string, took time.Duration, code sdk.Code) {
	if code == "" {
		code = "ok"
	}
	t.drivers.calls.WithLabelValues(string(kind), driver, target, method, string(code)).Inc()
	if took > 0 {
		t.drivers.duration.WithLabelValues(string(kind), driver, method).Observe(took.Seconds())
	}
}
