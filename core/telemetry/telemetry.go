package telemetry

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Telemetry is a node's metrics. Make one with New; Attach gives it what it reads when it is scraped.
// Safe for concurrent use.
type Telemetry struct {
	registry *prometheus.Registry
	sources  atomic.Pointer[Sources]

	api      apiMetrics
	store    storeMetrics
	drivers  driverMetrics
	outcomes outcomeMetrics
}

// New makes the metrics of a node. Nothing but the process's own is exported until Attach.
func New(version string) (*Telemetry, error) {
	t := &Telemetry{
		registry: prometheus.NewRegistry(),
		api:      newAPIMetrics(), store: newStoreMetrics(), drivers: newDriverMetrics(), outcomes: newOutcomeMetrics(),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "instar_build_info", Help: "Always 1; the labels say which instard runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	all := []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
		&figures{t},
	}
	all = append(all, t.api.all()...)
	all = append(all, t.store.all()...)
	all = append(all, t.drivers.all()...)
	all = append(all, t.outcomes.all()...)
	for _, c := range all {
		if err := t.registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return t, nil
}

// Attach sets what is read at each scrape.
func (t *Telemetry) Attach(s Sources) { t.sources.Store(&s) }

// Detach ends the reading: what the sources read is about to be closed.
func (t *Telemetry) Detach() { t.sources.Store(nil) }

// Gatherer gives the metrics as they are now.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.registry }

// Handler answers scrapes in Prometheus' formats. It takes one at a time and two that wait: a scrape costs
// a pass over the state.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 3, ErrorHandling: promhttp.ContinueOnError})
}
