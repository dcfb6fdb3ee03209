package core

// Set is what an operator declares: the evaluated content of one or more HCL files, as the client
// sends it. Nothing is pinned yet.
type Set struct {
	Services []Declared `json:"services"`
	Configs  []Config   `json:"configs,omitempty"` // Digest filled in by the client, checked by the server
}

// Declared is one declared service.
type Declared struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	Spec  Spec   `json:"spec"` // mounts are pinned, the artifact's digest is empty
}

// Action is what a plan does with a service.
type Action string

// The actions.
const (
	ActionNone   Action = "none"
	ActionCreate Action = "create"
	ActionUpdate Action = "update" // a new revision
	ActionReturn Action = "return" // back to a revision that exists already
	ActionScale  Action = "scale"  // the count alone
)

// Plan is what applying a Set would do.
type Plan struct {
	Services []ServicePlan `json:"services"` // sorted by name
}

// Changes reports whether applying would change anything.
func (p *Plan) Changes() bool {
	for i := range p.Services {
		if p.Services[i].Action != ActionNone {
			return true
		}
	}
	return false
}

// ServicePlan is what applying would do with one service.
type ServicePlan struct {
	Service  string   `json:"service"`
	Action   Action   `json:"action"`
	Seq      uint64   `json:"seq"` // of the service object that was compared; apply refuses another
	From     int      `json:"from,omitempty"`
	To       int      `json:"to,omitempty"`
	Count    int      `json:"count"`
	Digest   Digest   `json:"digest"` // of the revision it would be
	Strategy Strategy `json:"strategy,omitempty"`
	// MaxSurge and MaxUnavailable are those of a rolling rollout that it would begin.
	MaxSurge       Bound    `json:"max_surge,omitempty"`
	MaxUnavailable Bound    `json:"max_unavailable,omitempty"`
	Diff           []Diff   `json:"diff,omitempty"`
	Replaces       []string `json:"replaces,omitempty"` // instances that will be replaced
	Creates        int      `json:"creates"`            // instances that will be made
}

// Diff is one changed attribute. Sensitive values are shown as "(sensitive)".
type Diff struct {
	Path string `json:"path"` // "env.BANNER", "artifact.digest"
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Applied is the answer to every operator's write.
type Applied struct {
	Receipt  Receipt  `json:"receipt,omitzero"`   // zero if nothing had to change
	Rollouts []string `json:"rollouts,omitempty"` // RolloutIDs that were started
	Plan     *Plan    `json:"plan,omitempty"`
}
