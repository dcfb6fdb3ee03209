package sdk

import (
	"context"
	"time"
)

// Metrics answers queries about measurements.
type Metrics interface {
	Driver
	// Query evaluates a query over a window that ends at q.At. The caller supplies the time, so live,
	// simulated and replayed evaluations are one path. A query that the backend refuses is
	// InvalidConfig at attribute "query".
	Query(ctx context.Context, q Query) (Result, error)
}

// Query asks for one or more series.
type Query struct {
	Text          string // in the backend's language
	At            time.Time
	Window        time.Duration // samples in (At-Window, At]
	Step          time.Duration // distance of the samples asked for
	InstanceLabel string        // the label that carries the instance id; empty: none
}

// ResultStatus says how far a result can be trusted.
type ResultStatus string

// The statuses of a result.
const (
	ResultOK      ResultStatus = "OK"
	ResultNoData  ResultStatus = "NO_DATA"
	ResultPartial ResultStatus = "PARTIAL" // some series or samples are missing
	ResultStale   ResultStatus = "STALE"   // the newest sample is older than the window
)

// Result is the answer to a query.
type Result struct {
	Status ResultStatus
	Series []Series
}

// Series is one labelled series, oldest sample first.
type Series struct {
	Labels   map[string]string
	Instance string // the value of Query.InstanceLabel, or empty
	Samples  []Sample
}

// Sample is one measurement.
type Sample struct {
	At    time.Time
	Value float64
}
