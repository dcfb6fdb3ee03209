package sdk

import (
	"context"
	"encoding/json"
	"time"
)

// PreviewHeader selects a pool that is not active yet: a request that carries it, with the pool's
// revision number as value, goes to that pool if the pool has Preview set, and is refused with 404
// otherwise. The header is removed before the request is passed on.
const PreviewHeader = "Instar-Preview"

// Traffic moves requests to instances.
type Traffic interface {
	Driver
	// Apply brings the data plane to the wanted state of one route and returns when new requests
	// follow it. It is the whole state, not a step. An older Generation than the applied one is
	// Conflict and changes nothing; the same Generation again is a no-op. What was applied survives
	// the driver and the data plane. Requests in flight on endpoints that are gone or have no weight
	// any more go on.
	Apply(ctx context.Context, route Route) error
	// Observe reads the route back from the data plane; NotFound if there is none.
	Observe(ctx context.Context, route string) (Observation, error)
	// List returns the ids of all routes that the data plane has, by this driver.
	List(ctx context.Context) ([]string, error)
	// Remove ends the route: new requests are refused at once, those in flight get up to drain.
	// The generation is remembered, so that an older Apply cannot bring the route back. Idempotent.
	Remove(ctx context.Context, route string, generation uint64, drain time.Duration) error
	// Hold makes the route buffer new requests, within limits, until Release or until timeout is over.
	// Only with CapHold.
	Hold(ctx context.Context, route string, limits HoldLimits) error
	// Release lets held requests go on, to the pools as they are then.
	Release(ctx context.Context, route string) error
}

// HoldLimits bounds what a held route may buffer; a request over a limit is refused with 503.
type HoldLimits struct {
	Requests int           // at most this many at a time; 0: 1000
	Timeout  time.Duration // for each request, and for the hold itself; 0: 10s
}

// Protocol is what a listener speaks.
type Protocol string

// The protocols of a listener.
const (
	ProtocolHTTP Protocol = "http" // HTTP/1.1, HTTP/2, WebSocket
	ProtocolTCP  Protocol = "tcp"
)

// Route is the whole wanted state of one route.
type Route struct {
	ID         string
	Generation uint64 // from 1
	Listen     string // host:port; several HTTP routes may share one listener
	Protocol   Protocol
	Host       string // http: exact host name without port; empty: any. The most exact match wins
	Path       string // http: path prefix at segment borders; empty: any. The longest wins
	TLS        *TLS   // nil: plain. Routes on one listener all have TLS, or none
	Drain      time.Duration
	Config     json.RawMessage // of the driver's workload schema
	Pools      []Pool
}

// TLS names the certificate of a listener.
type TLS struct {
	CertificateFile, KeyFile string // PEM
}

// Pool is one revision's share of a route.
type Pool struct {
	Revision  int
	Weight    int  // share of new requests relative to the other pools; 0: none
	Preview   bool // reachable with PreviewHeader
	Endpoints []Endpoint
}

// Endpoint is one instance of a pool.
type Endpoint struct {
	ID      string // the instance's id
	Address string // host:port
}

// EndpointState is what the data plane thinks of an endpoint.
type EndpointState string

// The states of an endpoint.
const (
	EndpointUp       EndpointState = "up"       // gets requests if its pool does
	EndpointDown     EndpointState = "down"     // could not be reached the last time
	EndpointDraining EndpointState = "draining" // no longer part of the route; requests are still in flight
)

// Observation is a route as the data plane has it.
type Observation struct {
	Route      string
	Generation uint64
	Listening  bool
	Held       int // requests buffered now
	Pools      []PoolObservation
	// Draining lists endpoints that have left the route and still have requests in flight. One that is
	// neither here nor in Pools has none.
	Draining []EndpointObservation
}

// PoolObservation is one pool as the data plane has it.
type PoolObservation struct {
	Revision  int
	Weight    int
	Preview   bool
	Endpoints []EndpointObservation
}

// EndpointObservation is one endpoint as the data plane has it. Counters begin when the endpoint joins
// the route and only grow.
type EndpointObservation struct {
	ID       string
	Address  string
	State    EndpointState
	InFlight int    // requests, or TCP and WebSocket connections
	Requests uint64 // answered or failed
	Errors   uint64 // 5xx answers and transport errors
	Latency  Latency
}

// Latency is a summary over about the last minute, from the first byte in to the first byte out.
type Latency struct {
	P50, P90, P99, Max time.Duration
	Count              uint64
}
