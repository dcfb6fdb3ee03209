package sdk

import (
	"context"
	"encoding/json"

	"github.com/zclconf/go-cty/cty"
)

// ProtocolVersion is the version of the driver protocol that this sdk speaks. The daemon and the driver
// negotiate the highest version that both know.
const ProtocolVersion = 1

// Kind is what a driver is for.
type Kind string

// The kinds of drivers.
const (
	KindCompute Kind = "compute"
	KindTraffic Kind = "traffic"
	KindMetrics Kind = "metrics"
)

// Scope says how far one configured target reaches.
type Scope string

// The scopes of a target.
const (
	ScopeNode    Scope = "node"    // the machine that the driver runs on
	ScopeCluster Scope = "cluster" // something that all nodes reach, such as a cloud account
)

// Capability is an optional ability that a driver declares.
type Capability string

// The capabilities that the daemon asks about.
const (
	CapLogs      Capability = "logs"      // compute: Logs works
	CapUsage     Capability = "usage"     // compute: Usage works
	CapArtifacts Capability = "artifacts" // compute: it is an ArtifactKeeper
	CapHold      Capability = "hold"      // traffic: Hold and Release work
	CapHTTP      Capability = "http"      // traffic: HTTP listeners
	CapTCP       Capability = "tcp"       // traffic: TCP listeners
	CapTLS       Capability = "tls"       // traffic: terminates TLS
)

// Driver is what all kinds have in common.
type Driver interface {
	// Describe tells what the driver is. It needs no configuration and never fails on a sound driver.
	Describe(ctx context.Context) (Description, error)
	// Configure binds the process to one target. It is called before anything but Describe, and again
	// after a re-attachment with the same or newer configuration; it must be idempotent.
	Configure(ctx context.Context, req ConfigureRequest) error
	// Probe reports the target's health at once and then at every change, until ctx ends.
	Probe(ctx context.Context, report func(Health) error) error
}

// Description is what a driver says of itself.
type Description struct {
	Name         string // "process"; the binary is called instar-KIND-NAME
	Version      string // semantic version of the driver
	Kind         Kind
	Scope        Scope
	Doc          string // one paragraph for `instar driver docs`
	Capabilities []Capability
	Target       Schema // of the target block's body in the daemon's configuration
	Workload     Schema // compute: of a service's compute block; traffic: of a route's config
	Guide        string // what has to be set up outside of instar, as plain text; empty if nothing has
}

// Schema is an ordered list of attributes.
type Schema []Attribute

// Attribute is one attribute of a schema.
type Attribute struct {
	Name      string   // as written in HCL: lower case, digits and _
	Type      cty.Type // objects and lists are allowed, capsules are not
	Default   cty.Value
	Required  bool
	Sensitive bool   // its value never reaches logs, plans or the audit log in the clear
	Doc       string // one sentence
}

// ConfigureRequest binds a driver process to a target.
type ConfigureRequest struct {
	Target     string // the target's name, "local"
	Node       string
	Cluster    string // the cluster's id; labels what the driver makes
	Generation uint64 // of the cluster; a lower one than seen before is Conflict
	StateDir   string // private to this target, exists, survives the process
	Config     json.RawMessage
}

// Health is a target's state.
type Health struct {
	Healthy    bool
	Reason     string            // why it is not healthy; what and where, for a person
	Attributes map[string]string // facts worth showing: version of the backend, kernel
	Capacity   Resources         // what instances may use in all; 0: not known
}

// Resources is an amount of CPU and memory.
type Resources struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes
}
