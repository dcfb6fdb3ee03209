package core

import (
	"fmt"
	"slices"
	"time"
)

// Rollout is the way of one service from one revision to another, stored under RolloutID.
type Rollout struct {
	Format   int          `json:"format"`
	Service  string       `json:"service"`
	Number   int          `json:"number"` // from 1, per service
	Kind     RolloutKind  `json:"kind"`
	From     int          `json:"from"` // 0: the service had no active revision
	To       int          `json:"to"`
	Phase    RolloutPhase `json:"phase"`
	Started  time.Time    `json:"started"`
	PhaseAt  time.Time    `json:"phase_at"`          // when Phase was entered
	Deadline time.Time    `json:"deadline,omitzero"` // progress deadline of provisioning and verifying; of a rolling one's present step
	// SwitchedAt is the time of the transaction that moved the pools, ConfirmedAt when every reachable
	// traffic node had read it back from its data plane.
	SwitchedAt  time.Time `json:"switched_at,omitzero"`
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	// Reason says why it was started ("apply", "rollback asked for by local:root"); Failure why it did
	// not succeed, with what the instances said.
	Reason  string   `json:"reason,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	// FromCount is how many instances of From are wanted while this rollout runs: the service's count
	// before the apply that began it. It becomes the service's count again if the rollout does not win.
	FromCount int `json:"from_count,omitempty"`
	// Backoff holds back replacements of the revision that is not active: To before the switch, From after.
	Backoff *Backoff `json:"backoff,omitempty"`
	// AbortAsked makes the planner roll back at the next step.
	AbortAsked string `json:"abort_asked,omitempty"`
	// Rolling is how a rolling rollout goes; nil: all at once.
	Rolling *Rolling `json:"rolling,omitempty"`
	// Others are the revisions that served beside From when this began, because it superseded a rolling rollout
	// that was under way. Sorted.
	Others []int `json:"others,omitempty"`
	// History is every phase entered, oldest first.
	History []PhaseEntry `json:"history,omitempty"`
}

// ServeToo are the revisions that get requests beside the service's active one while the rollout goes on, sorted.
func (r *Rollout) ServeToo() []int {
	var all []int
	switch {
	case r.Phase < RolloutSwitching:
		all = slices.Clone(r.Others)
	case r.Phase == RolloutSwitching && r.Rolling != nil:
		all = append(slices.Clone(r.Others), r.From)
	case r.Phase == RolloutRollingBack && r.SwitchedAt.IsZero():
		all = slices.Clone(r.Others)
	case r.Phase == RolloutRollingBack && r.Rolling != nil:
		all = append(slices.Clone(r.Others), r.To)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// GoesOn reports whether the rollout began with a revision that served already, because it superseded a rolling
// one half-way: nothing was verified anew.
func (r *Rollout) GoesOn() bool { return len(r.History) > 0 && r.History[0].Phase == RolloutSwitching }

// Rolling are the bounds of a rolling rollout, and how far it has come.
type Rolling struct {
	MaxSurge       Bound `json:"max_surge,omitempty"`
	MaxUnavailable Bound `json:"max_unavailable,omitempty"`
	// Made is the most instances of the revision that it goes to that were ever wanted at a time, Joined the
	// most that were healthy.
	Made   int `json:"made,omitempty"`
	Joined int `json:"joined,omitempty"`
}

// PhaseEntry is one line of a rollout's history.
type PhaseEntry struct {
	Phase RolloutPhase `json:"phase"`
	At    time.Time    `json:"at"`
	Note  string       `json:"note,omitempty"`
}

// RolloutID is the id of a rollout object: "web/2".
func RolloutID(service string, number int) string { return fmt.Sprintf("%s/%d", service, number) }

// ID is the object's id.
func (r *Rollout) ID() string { return RolloutID(r.Service, r.Number) }

// RolloutKind says what a rollout is for.
type RolloutKind string

// The kinds of rollouts.
const (
	RolloutDeploy   RolloutKind = "deploy"
	RolloutRollback RolloutKind = "rollback" // skips smoke checks and analysis, never health
)

// RolloutPhase is how far a rollout has come. Numbers have gaps and only grow.
type RolloutPhase int

// The phases of a rollout.
const (
	RolloutProvisioning RolloutPhase = 10 // green is being made, at full size; rolling: its first batch
	RolloutVerifying    RolloutPhase = 20 // health, then smoke checks through the preview
	RolloutApproving    RolloutPhase = 30
	RolloutSwitching    RolloutPhase = 40 // routes written, not yet confirmed by every traffic node; rolling: both serve
	RolloutBaking       RolloutPhase = 50 // green serves, blue is warm at full size
	RolloutRetiring     RolloutPhase = 60 // done for the user; blue is warm until keep_previous is over
	RolloutSucceeded    RolloutPhase = 70
	RolloutRollingBack  RolloutPhase = 80 // routes back to From, not yet confirmed; rolling: step by step
	RolloutRolledBack   RolloutPhase = 90
	RolloutFailed       RolloutPhase = 100 // never switched; green is gone
	RolloutSuperseded   RolloutPhase = 110
)

var rolloutPhases = phaseNames[RolloutPhase]{
	RolloutProvisioning: "provisioning", RolloutVerifying: "verifying", RolloutApproving: "approving",
	RolloutSwitching: "switching", RolloutBaking: "baking", RolloutRetiring: "retiring",
	RolloutSucceeded: "succeeded", RolloutRollingBack: "rolling_back", RolloutRolledBack: "rolled_back",
	RolloutFailed: "failed", RolloutSuperseded: "superseded",
}

// String is the phase's name.
func (p RolloutPhase) String() string { return rolloutPhases.name(p) }

// MarshalText implements encoding.TextMarshaler.
func (p RolloutPhase) MarshalText() ([]byte, error) { return rolloutPhases.marshal(p) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *RolloutPhase) UnmarshalText(text []byte) error { return rolloutPhases.unmarshal(text, p) }

// Over reports whether the rollout has ended.
func (p RolloutPhase) Over() bool {
	return p == RolloutSucceeded || p == RolloutRolledBack || p == RolloutFailed || p == RolloutSuperseded
}

// Done reports whether the rollout has nothing left that a user would wait for: it has ended, or the
// new revision serves, has been baked, and only the old one's warm time is left.
func (p RolloutPhase) Done() bool { return p == RolloutRetiring || p.Over() }

// Good reports whether the new revision won.
func (p RolloutPhase) Good() bool { return p == RolloutRetiring || p == RolloutSucceeded }
