package rollout

import (
	"time"

	"github.com/instarhq/instar/core"
)

// Decision is what to do next. Service, Rollout and Routes belong into one transaction, with as many of
// Instances as fit; what does not fit may come later or never: the next Plan decides it again.
type Decision struct {
	// Verb and Reason describe the transaction in the log: "rollout.switch".
	Verb, Reason string

	Service *core.Service // as it is to be, nil: unchanged
	Rollout *core.Rollout // as it is to be, nil: unchanged
	Routes  []core.Route  // to write
	// Instances to write: wanted out of traffic, or destroyed. An instance is never wanted back.
	Instances []core.Instance
	Create    []Create // instances to make; ids and places are the caller's
	Forget    []string // instances whose objects are to be deleted: nothing is left of them
	// RemoveRoutes are the routes whose objects are to be deleted: no data plane has them any more.
	RemoveRoutes []string
	// RemoveService: everything has gone; its objects are to be deleted.
	RemoveService bool

	// Wake is when to look again if nothing happens before; zero: no need.
	Wake time.Time
	// Waiting is what the service waits for, in a sentence for people; empty: nothing.
	Waiting string
}

// Create asks for instances of a revision.
type Create struct {
	Revision int
	Count    int
}

// Empty reports whether there is nothing to write.
func (d *Decision) Empty() bool {
	return d.Service == nil && d.Rollout == nil && len(d.Routes) == 0 && len(d.Instances) == 0 && len(d.Create) == 0 &&
		len(d.Forget) == 0 && len(d.RemoveRoutes) == 0 && !d.RemoveService
}
