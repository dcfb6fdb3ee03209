package core

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

// Service is a named workload. The spec it was declared with lives in its revisions.
type Service struct {
	Format   int    `json:"format"`
	Name     string `json:"name"`
	Count    int    `json:"count"`    // wanted instances of the active revision, ≥ 0
	Revision int    `json:"revision"` // the revision wanted now: newest declared, or the one rolled back to
	Active   int    `json:"active"`   // the revision that has the traffic; 0 before the first switch
	Previous int    `json:"previous"` // the revision kept warm for a rollback; 0: none
	// KeepUntil is when Previous is retired. Zero while Previous is 0.
	KeepUntil time.Time `json:"keep_until,omitzero"`
	Revisions int       `json:"revisions"` // how many revisions were ever numbered
	Rollouts  int       `json:"rollouts"`  // how many rollouts were ever numbered
	Deleting  bool      `json:"deleting,omitempty"`
	// Backoff holds back replacements of failing instances of the active revision.
	Backoff *Backoff `json:"backoff,omitempty"`
}

// Backoff is the replacement delay after consecutive instance failures of one revision: 1s, 2s, 4s … 5m.
// Failures while it lasts belong to the same wave and count once; one that comes more than ten minutes
// after it begins a new count.
type Backoff struct {
	Revision int       `json:"revision"`
	Failures int       `json:"failures"`
	Until    time.Time `json:"until"`
}

// Revision is one immutable version of a service, stored under RevisionID.
type Revision struct {
	Format  int       `json:"format"`
	Service string    `json:"service"`
	Number  int       `json:"number"` // from 1
	Digest  Digest    `json:"digest"` // DigestJSON(Spec)
	Spec    Spec      `json:"spec"`
	Created time.Time `json:"created"`
}

// RevisionID is the id of a revision object: "web/3".
func RevisionID(service string, number int) string { return fmt.Sprintf("%s/%d", service, number) }

// Spec is the normalised declaration of a service without its count. Its JSON is what a revision's
// digest is taken of, so defaults are filled in, collections are sorted and digests are pinned.
type Spec struct {
	Artifact  Artifact          `json:"artifact"`
	Compute   Compute           `json:"compute"`
	Ports     []Port            `json:"ports,omitempty"` // sorted by name
	Resources Resources         `json:"resources"`
	Env       map[string]string `json:"env,omitempty"`
	Mounts    []Mount           `json:"mounts,omitempty"` // sorted by path
	Health    []HealthCheck     `json:"health,omitempty"` // in the order declared
	Routes    []RouteSpec       `json:"routes,omitempty"` // sorted by name
	Rollout   RolloutSpec       `json:"rollout"`
	Grace     Duration          `json:"grace"` // from SIGTERM to SIGKILL, default 10s
	// Constraints limit where the instances may be, sorted; Spread is how they are spread, in the order declared.
	Constraints []Constraint `json:"constraints,omitempty"`
	Spread      []Spread     `json:"spread,omitempty"`
}

// Artifact is what an instance runs. Digest is pinned at apply by the driver's Resolve.
type Artifact struct {
	Source   string `json:"source,omitempty"`   // a path, URL or image reference; empty where the driver needs none
	Checksum string `json:"checksum,omitempty"` // "sha256:…" that the source must have, from the operator
	Digest   Digest `json:"digest,omitempty"`
}

// Compute names the driver that runs the instances and carries its workload configuration.
type Compute struct {
	Driver string          `json:"driver"`           // "process"
	Target string          `json:"target,omitempty"` // a target's name; empty: any target of the driver
	Config json.RawMessage `json:"config,omitempty"` // JSON object, valid for the driver's workload schema
}

// Port is a port that an instance listens on. Number 0 lets the driver choose.
type Port struct {
	Name   string `json:"name"`
	Number int    `json:"number,omitempty"`
}

// Resources is what one instance asks for; 0 means unlimited.
type Resources struct {
	CPU    int64 `json:"cpu,omitempty"`    // thousandths of a core
	Memory int64 `json:"memory,omitempty"` // bytes
}

// Mount puts a config object into an instance, read-only.
type Mount struct {
	Config string `json:"config"` // the config's name
	Digest Digest `json:"digest"` // pinned at apply
	Path   string `json:"path"`   // relative to the instance's directory
}

// Config is an immutable configuration object, stored under its digest.
type Config struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Digest Digest `json:"digest"` // DigestBytes(Data)
	Data   []byte `json:"data"`
}

// ConfigID is the id of a config object: "site@sha256:…".
func ConfigID(name string, digest Digest) string { return name + "@" + string(digest) }

// CheckType is the kind of a health check.
type CheckType string

// The kinds of health checks.
const (
	CheckHTTP CheckType = "http"
	CheckTCP  CheckType = "tcp"
)

// HealthCheck says how the agent finds out whether an instance serves.
type HealthCheck struct {
	Type       CheckType `json:"type"`
	Port       string    `json:"port"`               // a declared port's name
	Path       string    `json:"path,omitempty"`     // http
	Status     []int     `json:"status,omitempty"`   // http: accepted codes; empty: 200–399
	Interval   Duration  `json:"interval"`           // default 5s, at least 100ms
	Timeout    Duration  `json:"timeout"`            // default 2s
	HealthyFor Duration  `json:"healthy_for"`        // passing for this long makes healthy; default 5s
	Failures   int       `json:"failures,omitempty"` // consecutive failures that make unhealthy; default 3
}

// Protocol is what a route's listener speaks.
type Protocol string

// The protocols of a listener. HTTP includes HTTP/2 and WebSocket.
const (
	ProtocolHTTP Protocol = "http"
	ProtocolTCP  Protocol = "tcp"
)

// RouteSpec declares a route of the service.
type RouteSpec struct {
	Name     string          `json:"name"`             // unique in the cluster
	Driver   string          `json:"driver"`           // "proxy"
	Target   string          `json:"target,omitempty"` // empty: every target of the driver
	Listen   string          `json:"listen"`           // "host:port" or ":port"
	Protocol Protocol        `json:"protocol"`
	Host     string          `json:"host,omitempty"` // http: exact host name to match; empty: any
	Path     string          `json:"path,omitempty"` // http: path prefix to match; empty: any
	Port     string          `json:"port"`           // the instances' port, by name
	TLS      *TLS            `json:"tls,omitempty"`
	Drain    Duration        `json:"drain"`            // how long in-flight requests get; default 30s
	Config   json.RawMessage `json:"config,omitempty"` // valid for the driver's workload schema
}

// TLS makes a listener terminate TLS with certificate files on the traffic node.
type TLS struct {
	Certificate string `json:"certificate"` // PEM file
	Key         string `json:"key"`         // PEM file
}

// Strategy is the way from one revision to the next.
type Strategy string

// The strategies.
const (
	StrategyBlueGreen Strategy = "blue_green" // all of the new revision, then one switch
	StrategyRolling   Strategy = "rolling"    // a few instances at a time, both revisions serving; since level 2
)

// RolloutSpec says how a new revision takes over.
type RolloutSpec struct {
	Strategy         Strategy     `json:"strategy"`
	Bake             Duration     `json:"bake"`              // default 30s
	KeepPrevious     Duration     `json:"keep_previous"`     // default 1h; 0 for rolling, which keeps nothing
	ProgressDeadline Duration     `json:"progress_deadline"` // for provisioning and verifying together, rolling: for a step; default 10m
	Smoke            []SmokeCheck `json:"smoke,omitempty"`   // verified through the preview route
	// MaxErrorRate ends the bake with a rollback when more than this share of green's answers, over at
	// least 20, were 5xx or transport errors. 0..1; 0: not watched.
	MaxErrorRate float64 `json:"max_error_rate,omitempty"`
	// MaxSurge and MaxUnavailable are for rolling alone, and not both none: how many instances more than the
	// count there may be, default 25%, and how many fewer healthy ones may serve, default 0.
	MaxSurge       Bound `json:"max_surge,omitempty"`
	MaxUnavailable Bound `json:"max_unavailable,omitempty"`
}

// SmokeCheck is one request through the preview of a route, which must be answered by the new revision.
type SmokeCheck struct {
	Route    string   `json:"route"` // a route of the service
	Method   string   `json:"method"`
	Path     string   `json:"path"`
	Status   []int    `json:"status,omitempty"`   // accepted codes; empty: 200–299
	Contains string   `json:"contains,omitempty"` // must occur in the first MiB of the body
	Timeout  Duration `json:"timeout"`            // default 5s
}

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName refuses a name that could not be a DNS label: names become labels, file names and URLs.
func CheckName(what, name string) error {
	if nameRE.MatchString(name) {
		return nil
	}
	return Errorf(CodeInvalid, "%s %q: a name has 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -", what, name)
}
