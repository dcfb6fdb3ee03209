package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// apiMetrics are what is counted as requests pass.
type apiMetrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	refusals  *prometheus.CounterVec
	forwarded *prometheus.CounterVec
}

func newAPIMetrics() apiMetrics {
	return apiMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_api_requests_total", Help: "Requests that clients have sent to this node, by operation of the API and status.",
		}, []string{"operation", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "instar_api_request_duration_seconds", Help: "Until a request was answered, streams aside.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"operation"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_api_refusals_total", Help: "Requests that were refused because of who sent them: unauthenticated, denied, or limited after too many refusals.",
		}, []string{"reason"}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_api_forwarded_total", Help: "Requests that this node has passed on to the leader, by the status of its answer; error if there was none.",
		}, []string{"code"}),
	}
}

func (m *apiMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.refusals, m.forwarded}
}

var refusalReasons = map[int]string{401: "unauthenticated", 403: "denied", 429: "limited"}

// Request notes an answered request of the API. operation is one of the OpenAPI document's ids; stream: it
// lasted for as long as the client listened.
func (t *Telemetry) Request(operation string, status int, took time.Duration, stream bool) {
	t.api.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	if reason, refused := refusalReasons[status]; refused {
		t.api.refusals.WithLabelValues(reason).Inc()
	}
	if !stream {
		t.api.duration.WithLabelValues(operation).Observe(took.Seconds())
	}
}

// Forwarded notes a request that was passed on to the leader; status 0: no answer came.
func (t *Telemetry) Forwarded(status int) {
	code := "error"
	if status != 0 {
		code = strconv.Itoa(status)
	}
	t.api.forwarded.WithLabelValues(code).Inc()
}
