package core

import (
	"fmt"
	"time"
)

// Route is a listener and the pools behind it: the whole wanted state of one route. Every write that
// changes what a data plane should do raises Generation by one.
type Route struct {
	Format     int       `json:"format"`
	Name       string    `json:"name"`
	Service    string    `json:"service"`
	Generation uint64    `json:"generation"` // from 1, only grows, also across delete and re-creation of the name
	Spec       RouteSpec `json:"spec"`
	Pools      []Pool    `json:"pools,omitempty"` // at most one per revision, sorted by revision
	// Removed asks the traffic nodes to close the listener; the object goes when all have confirmed.
	Removed bool `json:"removed,omitempty"`
}

// Pool is one revision's share of a route.
type Pool struct {
	Revision int `json:"revision"`
	// Weight is the pool's share of new requests relative to the other pools; 0: none, though requests
	// already in flight go on and the preview header reaches it if Preview is set.
	Weight    int        `json:"weight"`
	Preview   bool       `json:"preview,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitempty"` // sorted by instance
}

// Endpoint is one instance of a pool. Only verified (healthy) instances are ever listed.
type Endpoint struct {
	Instance string `json:"instance"`
	Address  string `json:"address"` // host:port
}

// RouteStatus is what one traffic target has read back from its data plane, under RouteStatusID.
type RouteStatus struct {
	Format     int       `json:"format"`
	Route      string    `json:"route"`
	Node       string    `json:"node"`
	Driver     string    `json:"driver"`
	Target     string    `json:"target"`
	Generation uint64    `json:"generation"` // the newest generation seen in effect
	AppliedAt  time.Time `json:"applied_at"` // when that generation was first read back
	// Quiet lists the instances that had been part of this route, are no longer reachable through it
	// and have nothing in flight; control may destroy those. Sorted.
	Quiet []string `json:"quiet,omitempty"`
	// Failure is why the wanted generation is not in effect; empty if it is.
	Failure string `json:"failure,omitempty"`
	Removed bool   `json:"removed,omitempty"` // the listener is closed
	// ErrorRate holds, per revision, the share of failed answers since the pool was added, reported
	// when it crosses the revision's MaxErrorRate.
	ErrorRate map[int]float64 `json:"error_rate,omitempty"`
}

// RouteStatusID is the id of a route status: "web@n1/local".
func RouteStatusID(route, node, target string) string {
	return fmt.Sprintf("%s@%s/%s", route, node, target)
}

// Check is the outcome of a rollout's smoke checks at one traffic target, under CheckID.
type Check struct {
	Format  int       `json:"format"`
	Rollout string    `json:"rollout"` // RolloutID
	Service string    `json:"service"`
	Node    string    `json:"node"`
	Driver  string    `json:"driver,omitempty"` // of the target; empty in checks of before it was noted
	Target  string    `json:"target"`
	Passed  int       `json:"passed"`
	Total   int       `json:"total"`
	Failure string    `json:"failure,omitempty"` // the first failed check, in words
	At      time.Time `json:"at"`
}

// CheckID is the id of a check object: "web/2@n1/proxy/local". Two drivers may have targets of one name.
func CheckID(rollout, node, driver, target string) string {
	return fmt.Sprintf("%s@%s/%s/%s", rollout, node, driver, target)
}
