package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// The events of the chaos test.
const (
	evDeploy = iota
	evDrain
	evDestroy
	evForget        // control deletes what is gone
	evDeployExiting // it ends by itself after a while
	evRemoveBehindOurBack
	evOrphan
	evDriverDown
	evDriverUp
	evStoreDown
	evStoreUp
	evRestart
	evMoment
	evMinutes
	events
)

// event is one thing that happens, to the instance of the given number if it is about one.
type event struct{ kind, subject int }

// I4 and convergence: whatever happens in whatever order, an instance that has been reported as running
// is never made again, and when the world is quiet again the backend has what is wanted and nothing else,
// and every end has been reported.
func TestI4Chaos(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) event {
			return event{rapid.IntRange(0, events-1).Draw(rt, "event"), rapid.IntRange(0, 7).Draw(rt, "subject")}
		}), 1, 40).Draw(rt, "plan")
		var err error
		synctest.Test(t, func(t *testing.T) { err = newChaos(t).run(plan) })
		if err != nil {
			rt.Fatalf("%v: %v", plan, err)
		}
	})
}

const driverAway = "the driver restarts"

type chaos struct {
	*node
	ids    []string
	faulty atomic.Bool // the store refuses writes of the agent

	mu     sync.Mutex
	broken error
}

func newChaos(t *testing.T) *chaos {
	c := &chaos{}
	n := makeNode(t, coretest.WithFault(func(txn core.Txn) error {
		if c.faulty.Load() && txn.Meta.Verb == "agent.report" {
			return core.Errorf(core.CodeUnavailable, "no leader")
		}
		return nil
	}))
	n.bubble, n.quiet = true, true
	c.node = n
	n.compute.FailCreate = c.checkCreate
	n.start()
	return c
}

// checkCreate is called when the driver is asked for an instance.
func (c *chaos) checkCreate(spec sdk.InstanceSpec) error {
	object, err := c.store.Get(context.Background(), core.KindInstanceStatus, spec.ID, 0)
	if err != nil {
		return nil //nolint:nilerr // nothing has been reported of it
	}
	var status core.InstanceStatus
	if err := json.Unmarshal(object.Value, &status); err != nil || status.Phase >= core.InstanceRunning {
		c.mu.Lock()
		c.broken = errors.Join(fmt.Errorf("%s was asked for although it is reported as %s", spec.ID, status.Phase), err)
		c.mu.Unlock()
	}
	return nil
}

func (c *chaos) run(plan []event) error {
	c.deploy(revision(nil))
	exiting := revision(func(s *core.Spec) { s.Compute.Config = json.RawMessage(`{"exit_after":"45s"}`) })
	exiting.Number = 2
	c.update(func(tx *state.Tx) { state.Revisions.Put(tx, core.RevisionID("web", 2), exiting) })
	for _, e := range plan {
		if err := c.happen(e); err != nil {
			return err
		}
	}
	c.faulty.Store(false)
	c.host.setDown(nil)
	c.settle()
	c.after(20 * time.Minute)
	return c.judge()
}

//nolint:gocyclo // a table
func (c *chaos) happen(e event) error {
	id := ""
	if len(c.ids) > 0 {
		id = c.ids[e.subject%len(c.ids)]
	}
	inst, known := state.Instances.Get(c.state.View(), id)
	switch {
	case e.kind == evDeploy, e.kind == evDeployExiting:
		wanted := instance(fmt.Sprintf("web-%d", len(c.ids)))
		if e.kind == evDeployExiting {
			wanted.Revision = 2
		}
		c.ids = append(c.ids, wanted.ID)
		c.update(func(tx *state.Tx) { state.Instances.Put(tx, wanted.ID, wanted) })
	case e.kind == evDrain && known && inst.Desired == core.DesiredRun:
		c.desire(id, core.DesiredDrain)
	case e.kind == evDestroy && known:
		c.desire(id, core.DesiredDestroy)
	case e.kind == evForget && known && c.status(id).Phase == core.InstanceGone:
		c.update(func(tx *state.Tx) {
			state.Instances.Delete(tx, id)
			state.InstanceStatuses.Delete(tx, id)
		})
	case e.kind == evRemoveBehindOurBack && known:
		return c.compute.NoopCompute.Destroy(context.Background(), id, 0)
	case e.kind == evOrphan:
		_, err := c.compute.Create(context.Background(), sdk.InstanceSpec{ID: fmt.Sprintf("orphan-%d", e.subject), Cluster: cluster, Generation: 1})
		if sdk.CodeOf(err) == sdk.CodeConflict {
			err = nil // it was one before
		}
		return err
	case e.kind == evDriverDown:
		c.host.setDown(sdk.Unavailable(0, driverAway))
	case e.kind == evDriverUp:
		c.host.setDown(nil)
	case e.kind == evStoreDown, e.kind == evStoreUp:
		c.faulty.Store(e.kind == evStoreDown)
	case e.kind == evRestart:
		c.restart()
	case e.kind == evMoment:
		c.after(100 * time.Millisecond)
	case e.kind == evMinutes:
		c.after(3 * time.Minute)
	}
	c.settle()
	return nil
}

// judge compares store and backend when the world is quiet.
func (c *chaos) judge() error {
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	errs := []error{broken}
	there, err := c.compute.NoopCompute.List(context.Background(), cluster)
	if err != nil {
		return err
	}
	view := c.state.View()
	for _, i := range there {
		inst, ok := state.Instances.Get(view, i.ID)
		if !ok || inst.Desired == core.DesiredDestroy {
			errs = append(errs, fmt.Errorf("%s is at the backend and not wanted", i.ID))
		}
	}
	for id, inst := range state.Instances.All(view) {
		phase := c.status(id).Phase
		at := slices.IndexFunc(there, func(i sdk.Instance) bool { return i.ID == id })
		switch {
		case inst.Desired == core.DesiredDestroy:
			if phase != core.InstanceGone {
				errs = append(errs, fmt.Errorf("%s is to be destroyed and %s", id, phase))
			}
		case phase == core.InstanceFailed && strings.Contains(c.status(id).Failure.Message, driverAway):
			// The driver was away for too long, which counts as the instance's failure, whatever came of it.
		case at >= 0 && there[at].State == sdk.StateRunning:
			if phase != core.InstanceRunning && inst.Desired == core.DesiredRun || phase == core.InstanceRunning && !c.status(id).Healthy {
				errs = append(errs, fmt.Errorf("%s runs and is reported as %s, healthy %t", id, phase, c.status(id).Healthy))
			}
		case at >= 0:
			if phase != core.InstanceFailed {
				errs = append(errs, fmt.Errorf("%s has exited and is %s", id, phase))
			}
		case !phase.Over() && (inst.Desired == core.DesiredRun || phase >= core.InstanceRunning):
			errs = append(errs, fmt.Errorf("%s is not at the backend and %s", id, phase))
		}
	}
	for id := range state.InstanceStatuses.All(view) {
		if _, ok := state.Instances.Get(view, id); !ok {
			errs = append(errs, fmt.Errorf("the status of %s is left behind", id))
		}
	}
	return errors.Join(errs...)
}
