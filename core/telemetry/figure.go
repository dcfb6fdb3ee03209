package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figure describes one metric that is read from the sources.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// described are all figures, for Describe: they are declared as package variables.
var described []*prometheus.Desc

func gauge(name, help string, labels ...string) figure {
	return newFigure(prometheus.GaugeValue, name, help, labels)
}

func counter(name, help string, labels ...string) figure {
	return newFigure(prometheus.CounterValue, name, help, labels)
}

func newFigure(kind prometheus.ValueType, name, help string, labels []string) figure {
	f := figure{desc: prometheus.NewDesc(name, help, labels, nil), kind: kind}
	described = append(described, f.desc)
	return f
}

// out is where a scrape's values go.
type out chan<- prometheus.Metric

func (o out) put(f figure, value float64, labels ...string) {
	o <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

func (o out) flag(f figure, on bool, labels ...string) {
	value := 0.0
	if on {
		value = 1
	}
	o.put(f, value, labels...)
}

// moment puts a time as seconds since 1970; never is left out.
func (o out) moment(f figure, at time.Time, labels ...string) {
	if !at.IsZero() {
		o.put(f, float64(at.UnixMilli())/1000, labels...)
	}
}

// figures collects everything that is read from the sources.
type figures struct{ telemetry *Telemetry }

// Describe implements prometheus.Collector.
func (f *figures) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range described {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(metrics chan<- prometheus.Metric) {
	s := f.telemetry.sources.Load()
	if s == nil {
		return
	}
	o := out(metrics)
	if s.Store != nil {
		o.storeFigures(s.Store())
	}
	o.nodeFigures(s)
	if s.Leads != nil && s.View != nil && s.Leads() {
		o.clusterFigures(s)
	}
}
