package judge

import (
	"encoding/json"
	"fmt"

	"github.com/instarhq/instar/core"
)

// World is the state that the first records of a log add up to.
type World struct {
	Services  map[string]core.Service
	Revisions map[string]core.Revision
	Configs   map[string]core.Config
	Rollouts  map[string]core.Rollout
	Instances map[string]core.Instance
	Statuses  map[string]core.InstanceStatus
	Routes    map[string]core.Route
	Reports   map[string]core.RouteStatus // what traffic targets have in effect
	Checks    map[string]core.Check
	Nodes     map[string]core.Node
	Living    map[string]core.NodeStatus
}

func newWorld() *World {
	return &World{
		Services: map[string]core.Service{}, Revisions: map[string]core.Revision{}, Configs: map[string]core.Config{},
		Rollouts: map[string]core.Rollout{}, Instances: map[string]core.Instance{}, Statuses: map[string]core.InstanceStatus{},
		Routes: map[string]core.Route{}, Reports: map[string]core.RouteStatus{}, Checks: map[string]core.Check{},
		Nodes: map[string]core.Node{}, Living: map[string]core.NodeStatus{},
	}
}

// replay applies the records in order and calls visit with the state before and after each of them is
// known: op by op first, and then the whole record.
func replay(records []core.Record, visit func(w *World, r *core.Record)) error {
	w := newWorld()
	for i := range records {
		for j := range records[i].Txn.Ops {
			if err := w.apply(&records[i].Txn.Ops[j]); err != nil {
				return fmt.Errorf("record %d: %w", records[i].Seq, err)
			}
		}
		visit(w, &records[i])
	}
	return nil
}

func (w *World) apply(op *core.Op) error {
	switch op.Kind {
	case core.KindService:
		return put(w.Services, op)
	case core.KindRevision:
		return put(w.Revisions, op)
	case core.KindConfig:
		return put(w.Configs, op)
	case core.KindRollout:
		return put(w.Rollouts, op)
	case core.KindInstance:
		return put(w.Instances, op)
	case core.KindInstanceStatus:
		return put(w.Statuses, op)
	case core.KindRoute:
		return put(w.Routes, op)
	case core.KindRouteStatus:
		return put(w.Reports, op)
	case core.KindCheck:
		return put(w.Checks, op)
	case core.KindNode:
		return put(w.Nodes, op)
	case core.KindNodeStatus:
		return put(w.Living, op)
	}
	return nil // drivers and lineage are judged by nobody here
}

func put[T any](objects map[string]T, op *core.Op) error {
	if op.Delete {
		delete(objects, op.ID)
		return nil
	}
	var v T
	if err := json.Unmarshal(op.Value, &v); err != nil {
		return fmt.Errorf("%s %s: %w", op.Kind, op.ID, err)
	}
	objects[op.ID] = v
	return nil
}

// writes reports whether the record writes the object.
func writes(r *core.Record, kind core.Kind, id string) bool {
	for i := range r.Txn.Ops {
		if op := &r.Txn.Ops[i]; op.Kind == kind && op.ID == id && !op.Delete {
			return true
		}
	}
	return false
}
