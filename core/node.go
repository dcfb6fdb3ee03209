package core

import (
	"encoding/json"
	"time"
)

// Node is one daemon, as its agent describes it.
type Node struct {
	Format  int               `json:"format"`
	Name    string            `json:"name"`
	Version string            `json:"version"` // of instard
	Labels  map[string]string `json:"labels,omitempty"`
	Targets []Target          `json:"targets,omitempty"` // sorted by kind, driver, name
	Started time.Time         `json:"started"`
	// API is where the node serves the API to others: "https://10.0.0.1:4747", or empty.
	API string `json:"api,omitempty"`
	// Level is the newest level of stored formats that the node reads; 0 counts as 1.
	Level int `json:"level,omitempty"`
	// Key is the public key that checkpoints, exports and snapshots of this node are signed with.
	Key string `json:"key,omitempty"`
}

// Target is one configured driver on a node.
type Target struct {
	Kind     DriverKind `json:"kind"`
	Driver   string     `json:"driver"`
	Name     string     `json:"name"`  // "local"
	Scope    Scope      `json:"scope"` // node or cluster
	Version  string     `json:"version,omitempty"`
	Healthy  bool       `json:"healthy"`
	Reason   string     `json:"reason,omitempty"`   // why it is not healthy
	Capacity Resources  `json:"capacity,omitempty"` // 0: not known, not a limit
}

// DriverKind is what a driver is for.
type DriverKind string

// The kinds of drivers.
const (
	DriverCompute DriverKind = "compute"
	DriverTraffic DriverKind = "traffic"
	DriverMetrics DriverKind = "metrics"
)

// Scope says how far a target reaches.
type Scope string

// The scopes of a target.
const (
	ScopeNode    Scope = "node"
	ScopeCluster Scope = "cluster"
)

// Driver is a published driver description, under DriverID, so that any node can validate a spec for
// any driver.
type Driver struct {
	Format       int         `json:"format"`
	Name         string      `json:"name"`
	Kind         DriverKind  `json:"kind"`
	Version      string      `json:"version"`
	Scope        Scope       `json:"scope"`
	Protocol     int         `json:"protocol"` // driver protocol version
	Doc          string      `json:"doc,omitempty"`
	Capabilities []string    `json:"capabilities,omitempty"`
	Target       []Attribute `json:"target,omitempty"`   // schema of the target's configuration
	Workload     []Attribute `json:"workload,omitempty"` // schema of a workload's (or route's) configuration
	Guide        string      `json:"guide,omitempty"`    // what has to be set up outside of instar, as plain text
	Node         string      `json:"node"`
	Path         string      `json:"path,omitempty"`
	SHA256       string      `json:"sha256,omitempty"`
}

// DriverID is the id of a driver object: "n1/compute/process".
func DriverID(node string, kind DriverKind, name string) string {
	return node + "/" + string(kind) + "/" + name
}

// Attribute is one attribute of a driver's schema.
type Attribute struct {
	Name      string          `json:"name"`
	Type      json.RawMessage `json:"type"`              // cty's JSON type notation: "string", ["list","string"]
	Default   json.RawMessage `json:"default,omitempty"` // JSON value
	Required  bool            `json:"required,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
	Doc       string          `json:"doc"`
}
