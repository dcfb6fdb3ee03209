package core

import (
	"encoding/json"
	"time"
)

// The types below are what the API answers where one stored object is not the whole story. They are
// never stored.

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // cursor of the next page; empty: this is the last
	Seq   uint64 `json:"seq"`            // the sequence number that the list is as of
}

// InstanceView is an instance with what its agent has seen.
type InstanceView struct {
	Instance Instance        `json:"instance"`
	Status   *InstanceStatus `json:"status,omitempty"` // nil until the agent has reported anything
}

// RouteView is a route with what each traffic target has in effect.
type RouteView struct {
	Route    Route         `json:"route"`
	Statuses []RouteStatus `json:"statuses,omitempty"`
}

// RolloutView is a rollout with where it stands.
type RolloutView struct {
	Rollout  Rollout  `json:"rollout"`
	Progress Progress `json:"progress"`
}

// Progress says where a rollout stands now.
type Progress struct {
	Wanted  int      `json:"wanted"`  // instances of the new revision
	Created int      `json:"created"` // of those, how many run
	Healthy int      `json:"healthy"` // of those, how many are healthy
	Nodes   []string `json:"nodes,omitempty"`
	// Fetches are the nodes that are getting the artifact, sorted by node and target.
	Fetches []NodeFetch `json:"fetches,omitempty"`
	Passed  int         `json:"smoke_passed,omitempty"` // smoke checks, over all traffic targets
	Total   int         `json:"smoke_total,omitempty"`
	// Confirmed and Pending name the traffic targets ("n1/local") that have, or have not yet, the
	// routes' present generation in effect.
	Confirmed []string `json:"confirmed,omitempty"`
	Pending   []string `json:"pending,omitempty"`
	Warm      int      `json:"warm,omitempty"` // instances of the old revision that are kept warm
	// Replaced and Left are for a rolling rollout that has begun to switch: how many of the wanted instances of
	// the new revision serve, and how many of older ones are still to be replaced.
	Replaced int `json:"replaced,omitempty"`
	Left     int `json:"left,omitempty"`
	// BakeUntil and KeepUntil are when the phases of these names end; zero if they do not apply.
	BakeUntil time.Time `json:"bake_until,omitzero"`
	KeepUntil time.Time `json:"keep_until,omitzero"`
	// Waiting is what it waits for, in a sentence for people; empty when it is over.
	Waiting string `json:"waiting,omitempty"`
	// Troubles are the instances of the new revision that failed or are not healthy, worst first.
	Troubles []Trouble `json:"troubles,omitempty"`
}

// NodeFetch is a node that is getting an artifact for a target.
type NodeFetch struct {
	Node   string `json:"node"`
	Target string `json:"target"`
	Fetch
}

// Trouble is one instance that is not as it should be.
type Trouble struct {
	Instance string   `json:"instance"`
	Node     string   `json:"node"`
	Message  string   `json:"message"`
	Logs     []string `json:"logs,omitempty"`
}

// ServiceView is a service with the state of its instances and its newest rollout.
type ServiceView struct {
	Service  Service      `json:"service"`
	Running  int          `json:"running"` // instances of the revisions that serve that run: the active one, rolling also what it replaces
	Healthy  int          `json:"healthy"` // of those, how many are healthy
	Routes   []RouteSpec  `json:"routes,omitempty"`
	Rollout  *RolloutView `json:"rollout,omitempty"` // the newest, if any
	Troubles []Trouble    `json:"troubles,omitempty"`
}

// Status is the cluster in one screen.
type Status struct {
	Node     string        `json:"node"` // the node that answers
	Version  string        `json:"version"`
	Origin   string        `json:"origin"` // name/cluster-id/generation
	Leader   string        `json:"leader,omitempty"`
	Seq      uint64        `json:"seq"`
	Nodes    []Node        `json:"nodes"`
	Services []ServiceView `json:"services"`
}

// DriverView is a published driver with the targets that use it.
type DriverView struct {
	Driver  Driver       `json:"driver"`
	Targets []NodeTarget `json:"targets,omitempty"`
}

// NodeTarget is a target with its node.
type NodeTarget struct {
	Node   string `json:"node"`
	Target Target `json:"target"`
}

// LogLine is one line of an instance's output.
type LogLine struct {
	Time   time.Time `json:"time,omitzero"`
	Stream string    `json:"stream"` // stdout or stderr
	Text   string    `json:"text"`
}

// Event is one element of a watch stream: an object as a record left it.
type Event struct {
	Seq    uint64 `json:"seq"`
	Kind   Kind   `json:"kind"`
	ID     string `json:"id"`
	Delete bool   `json:"delete,omitempty"`
	Meta   Meta   `json:"meta"`
	// Object is the JSON of the object; empty for a delete.
	Object json.RawMessage `json:"object,omitempty"`
}
