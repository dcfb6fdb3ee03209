package control

import (
	"cmp"
	"slices"
	"sync"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// views keeps the instances of each service from one step to the next, and brings up to date only what
// has changed: reading all of them for every step would make an instance the dearer the more there are.
//
// A commit to the state marks what it changed before any snapshot shows it. So whoever takes the marks
// after a snapshot has all that the snapshot shows; marks of what it does not show yet are kept.
type views struct {
	watch *state.Watch

	mu       sync.Mutex
	services map[string]*known
}

// known are the instances of a service. Those of it are the worker's that steps the service; the other
// fields are under the lock.
type known struct {
	instances []rollout.Instance // sorted by id; as of the last step, but for dirty

	stale bool              // has to be read as a whole
	dirty map[string]uint64 // ids of instances that have changed, and the newest record that changed them
}

func newViews(watch *state.Watch) *views {
	return &views{watch: watch, services: map[string]*known{}}
}

// instances are those of a service in snapshot r, whose sequence number is seq. They are valid until the
// next call for the same service, and not to be changed.
func (v *views) instances(r state.Reader, seq uint64, service string, expected int) []rollout.Instance {
	k, changed, stale := v.take(seq, service)
	if stale {
		k.instances = instancesOf(r, service, expected)
		return k.instances
	}
	k.update(r, service, changed)
	return k.instances
}

// take gives the ids that have changed up to record seq.
func (v *views) take(seq uint64, service string) (k *known, changed []string, stale bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, change := range v.watch.Take() {
		if change.Service != "" && (change.Kind == core.KindInstance || change.Kind == core.KindInstanceStatus) {
			dirty := v.of(change.Service).dirty
			dirty[change.ID] = max(dirty[change.ID], change.Seq)
		}
	}
	k = v.of(service)
	for id, newest := range k.dirty {
		changed = append(changed, id)
		if newest <= seq {
			delete(k.dirty, id)
		}
	}
	stale, k.stale = k.stale, false
	slices.Sort(changed)
	return k, changed, stale
}

func (v *views) of(service string) *known {
	k := v.services[service]
	if k == nil {
		k = &known{stale: true, dirty: map[string]uint64{}}
		v.services[service] = k
	}
	return k
}

// forget drops a service that does not exist any more.
func (v *views) forget(service string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.services, service)
}

// distrust has one service read as a whole at its next step.
func (v *views) distrust(service string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.of(service).stale = true
}

// refresh has every service read as a whole at its next step.
func (v *views) refresh() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range v.services {
		k.stale = true
	}
}

// update reads the instances that have changed.
func (k *known) update(r state.Reader, service string, changed []string) {
	var fresh []rollout.Instance
	gone := map[string]struct{}{}
	for _, id := range changed {
		i, found := slices.BinarySearchFunc(k.instances, id, func(inst rollout.Instance, id string) int { return cmp.Compare(inst.ID, id) })
		inst, exists := instanceOf(r, service, id)
		switch {
		case exists && found:
			k.instances[i] = inst
		case exists:
			fresh = append(fresh, inst)
		case found:
			gone[id] = struct{}{}
		}
	}
	if len(gone) > 0 {
		k.instances = slices.DeleteFunc(k.instances, func(inst rollout.Instance) bool {
			_, is := gone[inst.ID]
			return is
		})
		if cap(k.instances) > 4*len(k.instances)+64 {
			k.instances = slices.Clone(k.instances) // the service has become much smaller
		}
	}
	k.instances = merge(k.instances, fresh)
}

// merge adds fresh to instances; both are sorted by id and have none in common.
func merge(instances, fresh []rollout.Instance) []rollout.Instance {
	i, j := len(instances)-1, len(fresh)-1
	instances = append(instances, fresh...)
	for to := len(instances) - 1; j >= 0; to-- {
		if i >= 0 && instances[i].ID > fresh[j].ID {
			instances[to] = instances[i]
			i--
		} else {
			instances[to] = fresh[j]
			j--
		}
	}
	return instances
}

// instanceOf joins an instance with its status.
func instanceOf(r state.Reader, service, id string) (rollout.Instance, bool) {
	inst, ok := state.Instances.Get(r, id)
	if !ok || inst.Service != service {
		return rollout.Instance{}, false
	}
	joined := rollout.Instance{Instance: inst}
	if status, ok := state.InstanceStatuses.Get(r, id); ok && status.Service == service {
		joined.Status = status
	}
	return joined, true
}

// instancesOf reads all instances of a service; they and their statuses come ordered by id.
func instancesOf(r state.Reader, service string, expected int) []rollout.Instance {
	instances := make([]rollout.Instance, 0, min(expected, 1<<14)+8)
	for _, inst := range state.Instances.By(r, state.ByService, service) {
		instances = append(instances, rollout.Instance{Instance: inst})
	}
	i := 0
	for id, status := range state.InstanceStatuses.By(r, state.ByService, service) {
		for i < len(instances) && instances[i].ID < id {
			i++
		}
		if i < len(instances) && instances[i].ID == id {
			instances[i].Status = status
		}
	}
	return instances
}
