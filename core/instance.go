package core

import (
	"fmt"
	"time"
)

// Instance is one wanted running copy of a revision: identity, place and what is wanted of it. The
// record is committed before a driver is asked for anything, and deleted when the agent reports Gone.
type Instance struct {
	Format   int       `json:"format"`
	ID       string    `json:"id"` // "web-7f3k2m", unique for ever
	Service  string    `json:"service"`
	Revision int       `json:"revision"`
	Node     string    `json:"node"`
	Driver   string    `json:"driver"`
	Target   string    `json:"target"`
	Desired  Desired   `json:"desired"`
	Created  time.Time `json:"created"`
	// Drain is when the instance was first wanted out of traffic; zero while Desired is run.
	Drain time.Time `json:"drain,omitzero"`
	// Left is the sequence number that control acted on when it last took the instance out of a route:
	// a route's generation over Left does not list it. Zero: it has never been taken out.
	Left uint64 `json:"left,omitempty"`
	// Reason says why Desired is not run: "superseded by revision 3", "unhealthy".
	Reason string `json:"reason,omitempty"`
}

// Desired is what control wants of an instance. It only moves down this list.
type Desired string

// What control can want.
const (
	DesiredRun     Desired = "run"
	DesiredDrain   Desired = "drain"   // out of every route; destroyed when nothing is in flight, or at the deadline
	DesiredDestroy Desired = "destroy" // end it
)

// InstancePhase is how far an instance has come. Numbers have gaps and only grow.
type InstancePhase int

// The phases of an instance.
const (
	InstancePlaced     InstancePhase = 10 // the record exists (no status object yet means this too)
	InstanceCreating   InstancePhase = 20 // the driver has been asked
	InstanceRunning    InstancePhase = 30 // the driver has made it
	InstanceDraining   InstancePhase = 50
	InstanceDestroying InstancePhase = 60
	InstanceFailed     InstancePhase = 70 // ended by itself, or never came to run; Failure says why
	InstanceLost       InstancePhase = 80 // the driver no longer knows it
	InstanceGone       InstancePhase = 90 // destroyed; nothing is left at the backend
)

var instancePhases = phaseNames[InstancePhase]{
	InstancePlaced: "placed", InstanceCreating: "creating", InstanceRunning: "running",
	InstanceDraining: "draining", InstanceDestroying: "destroying", InstanceFailed: "failed",
	InstanceLost: "lost", InstanceGone: "gone",
}

// String is the phase's name.
func (p InstancePhase) String() string { return instancePhases.name(p) }

// MarshalText implements encoding.TextMarshaler.
func (p InstancePhase) MarshalText() ([]byte, error) { return instancePhases.marshal(p) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *InstancePhase) UnmarshalText(text []byte) error { return instancePhases.unmarshal(text, p) }

// Over reports whether the instance can never serve again.
func (p InstancePhase) Over() bool { return p >= InstanceFailed }

// InstanceStatus is what the agent of the instance's node has seen, under the instance's id.
type InstanceStatus struct {
	Format  int           `json:"format"`
	ID      string        `json:"id"`
	Service string        `json:"service"`
	Node    string        `json:"node"`
	Phase   InstancePhase `json:"phase"`
	// Healthy is a flag beside the phase: every health check has passed for its healthy_for.
	Healthy bool `json:"healthy"`
	// HealthySince is when Healthy last became true; zero while it is false.
	HealthySince time.Time `json:"healthy_since,omitzero"`
	// Verified: Healthy has been true at least once. One that never was is still coming up.
	Verified    bool              `json:"verified,omitempty"`
	Addresses   map[string]string `json:"addresses,omitempty"` // port name → host:port
	Fingerprint string            `json:"fingerprint,omitempty"`
	Failure     *Failure          `json:"failure,omitempty"`
	Unhealthy   string            `json:"unhealthy,omitempty"` // the last failed check, in words
	// Fetch says how far its node is with getting the artifact, while the instance waits for that. Of several instances
	// that wait for one artifact at a target, one says so.
	Fetch   *Fetch    `json:"fetch,omitempty"`
	Updated time.Time `json:"updated"`
}

// Fetch is how far the getting of an artifact is.
type Fetch struct {
	Done  int64 `json:"done"`            // bytes
	Total int64 `json:"total,omitempty"` // bytes, as far as they are known yet; 0: not known
}

// Failure says why an instance did not come to run, or ended.
type Failure struct {
	Message string   `json:"message"`        // "exited with status 1 after 212 ms"
	Logs    []string `json:"logs,omitempty"` // the last lines it wrote, at most 10
	// Permanent: repeating it with the same revision cannot help (no such command, digest mismatch).
	Permanent bool `json:"permanent,omitempty"`
}

// phaseNames maps numbered phases to the names that are stored and shown.
type phaseNames[P ~int] map[P]string

func (n phaseNames[P]) name(p P) string {
	if s, ok := n[p]; ok {
		return s
	}
	return fmt.Sprintf("phase(%d)", int(p))
}

func (n phaseNames[P]) marshal(p P) ([]byte, error) {
	s, ok := n[p]
	if !ok {
		return nil, fmt.Errorf("no phase has number %d", int(p))
	}
	return []byte(s), nil
}

func (n phaseNames[P]) unmarshal(text []byte, p *P) error {
	for number, s := range n {
		if s == string(text) {
			*p = number
			return nil
		}
	}
	return fmt.Errorf("unknown phase %q", text)
}
