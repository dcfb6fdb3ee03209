package sdk

import (
	"context"
	"encoding/json"
	"time"
)

// Compute runs instances. There is no Start, Stop, Update or Exec: an instance is created and
// destroyed, never modified.
type Compute interface {
	Driver
	// Resolve pins an artifact: it returns it with its Digest. A checksum that does not match is
	// InvalidConfig at attribute "artifact.checksum", a missing source NotFound.
	Resolve(ctx context.Context, artifact Artifact) (Artifact, error)
	// Fetch makes a pinned artifact ready on this target, ahead of Create. progress may be nil.
	Fetch(ctx context.Context, artifact Artifact, progress func(FetchProgress)) error
	// Create makes and starts the instance and returns when the backend has started it; it does not
	// wait for it to serve. Idempotent by ID: a repeated call, also after a crash in between, returns
	// what the first one made (also when that has exited meanwhile) and never makes a second one.
	// An ID that exists with another RevisionDigest is Conflict; an ID that was destroyed is Conflict.
	Create(ctx context.Context, spec InstanceSpec) (Instance, error)
	// Destroy ends the instance: asks it to stop, waits up to grace, kills it, removes what Create
	// made. Idempotent: an unknown id is no error. When it returns nil nothing is left.
	Destroy(ctx context.Context, id string, grace time.Duration) error
	// Inspect reads one instance from the backend; NotFound if there is none.
	Inspect(ctx context.Context, id string) (Instance, error)
	// List reads all instances of a cluster from the backend alone, by labels, of any generation.
	List(ctx context.Context, cluster string) ([]Instance, error)
	// Watch reports every change of an instance's state within a second until ctx ends. It begins with
	// the present state of every instance, so a watcher misses nothing.
	Watch(ctx context.Context, event func(Instance) error) error
	// Logs yields an instance's output, oldest first; with Follow it goes on until ctx ends or the
	// instance is destroyed.
	Logs(ctx context.Context, id string, opts LogOptions, line func(LogLine) error) error
	// Usage reports the usage of all running instances every interval until ctx ends.
	Usage(ctx context.Context, interval time.Duration, report func([]Usage) error) error
	// Prune removes fetched artifacts whose digest is not in keep and which no instance uses, and
	// returns how many bytes that freed.
	Prune(ctx context.Context, keep []string) (freed int64, err error)
}

// Artifact is what an instance runs.
type Artifact struct {
	Source   string // path, URL or image reference
	Checksum string // "sha256:…" that the source must have; empty: not checked
	Digest   string // "sha256:…", pinned by Resolve
}

// FetchProgress tells how far a Fetch is.
type FetchProgress struct {
	Done, Total int64 // bytes; Total 0: not known
}

// InstanceSpec is everything that Create needs.
type InstanceSpec struct {
	ID             string
	Cluster        string
	Generation     uint64 // of the cluster
	Service        string
	Revision       int
	RevisionDigest string
	Artifact       Artifact        // pinned
	Config         json.RawMessage // of the workload schema
	Env            map[string]string
	Ports          []Port
	Resources      Resources // limits; 0: none
	Mounts         []Mount
	Grace          time.Duration // what Destroy will give it
}

// Port is a port that the instance listens on. In strings of Config and values of Env the driver
// replaces ${port.NAME} by its number and ${instance.id} by the instance's id, and it sets
// INSTAR_INSTANCE, INSTAR_SERVICE, INSTAR_REVISION and INSTAR_PORT_NAME (upper case, - as _).
type Port struct {
	Name   string
	Number int // 0: the driver chooses
}

// Mount is a read-only file for the instance.
type Mount struct {
	Path string // relative to the instance's root or working directory; never leaves it
	Data []byte
	Mode uint32 // permission bits; 0: 0444
}

// InstanceState is what the backend says of an instance.
type InstanceState string

// The states of an instance.
const (
	StateCreating  InstanceState = "creating" // Create has begun and not ended
	StateRunning   InstanceState = "running"
	StateExited    InstanceState = "exited"    // ended by itself; Exit says how
	StateDestroyed InstanceState = "destroyed" // only in Watch: gone
)

// Instance is what is really there.
type Instance struct {
	ID             string
	Cluster        string
	Generation     uint64
	Service        string
	Revision       int
	RevisionDigest string
	State          InstanceState
	Addresses      map[string]string // port name → host:port
	// Fingerprint digests what the instance was created from as the backend has it now; another value
	// than the one that Create returned means drift.
	Fingerprint string
	Created     time.Time
	Exit        *Exit // nil unless State is StateExited
}

// FingerprintLost is the fingerprint of an instance that runs while the driver's own state of it was lost:
// nothing is left to compare it with. It can be listed and destroyed, and is to be replaced.
const FingerprintLost = "lost"

// Exit says how an instance ended.
type Exit struct {
	Code    int    // exit status; -1 if it is not known or a signal ended it
	Signal  string // "SIGKILL", or empty
	OOM     bool   // ended because it ran out of memory
	Message string // for a person: "exited with status 1 after 212 ms"
	At      time.Time
}

// LogOptions selects log lines.
type LogOptions struct {
	Follow bool
	Tail   int // only the last n lines that exist now; 0: all
}

// LogLine is one line of output, without its newline.
type LogLine struct {
	Time   time.Time // when it was written, or zero if the backend does not know
	Stream string    // "stdout" or "stderr"
	Text   string    // at most 64 KiB; longer lines are cut
}

// Usage is one sample of one instance.
type Usage struct {
	ID       string
	At       time.Time
	CPUNanos uint64 // CPU time used since the instance's start, in nanoseconds
	Memory   int64  // bytes resident now
}
