package agent

import (
	"encoding/json"
	"maps"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/report"
	"github.com/instarhq/instar/core/state"
)

// publishNode reports this node with its targets, if the store does not say the same already.
func (a *Agent) publishNode(targets []core.Target) {
	node := core.Node{
		Format: core.Format, Name: a.cfg.Node, Version: a.cfg.Version,
		Labels: maps.Clone(a.cfg.Labels), Targets: targets, Started: a.started, Key: a.cfg.Key,
		API: a.cfg.API, Level: a.cfg.Level,
	}
	publish(a, state.Nodes, core.KindNode, node.Name, node)
}

// publishDrivers reports the descriptions of this node's drivers and takes back those of drivers that
// it no longer has.
func (a *Agent) publishDrivers() {
	have := map[string]bool{}
	for _, d := range a.cfg.Host.Drivers() {
		d.Format, d.Node = core.Format, a.cfg.Node
		id := core.DriverID(a.cfg.Node, d.Kind, d.Name)
		have[id] = true
		publish(a, state.Drivers, core.KindDriver, id, d)
	}
	for id := range state.Drivers.By(a.cfg.State.View(), state.ByNode, a.cfg.Node) {
		if !have[id] {
			a.retract(core.KindDriver, id, func(tx *state.Tx) { state.Drivers.Delete(tx, id) })
		}
	}
}

// forgetStale takes back observations of this node whose subject the store has forgotten: the report
// and the deletion may have crossed.
func (a *Agent) forgetStale(view *state.View) {
	for id := range state.InstanceStatuses.By(view, state.ByNode, a.cfg.Node) {
		if _, ok := state.Instances.Get(view, id); ok {
			continue
		}
		a.retract(core.KindInstanceStatus, id, func(tx *state.Tx) {
			if _, ok := state.Instances.Get(tx, id); !ok {
				state.InstanceStatuses.Delete(tx, id)
			}
		})
	}
	for id, status := range state.RouteStatuses.By(view, state.ByNode, a.cfg.Node) {
		if _, ok := state.Routes.Get(view, status.Route); ok {
			continue
		}
		a.retract(core.KindRouteStatus, id, func(tx *state.Tx) {
			if _, ok := state.Routes.Get(tx, status.Route); !ok {
				state.RouteStatuses.Delete(tx, id)
			}
		})
	}
}

func (a *Agent) retract(kind core.Kind, id string, write func(*state.Tx)) {
	a.reporter.Report(report.Observation{Kind: kind, ID: id, Size: len(id), Write: write})
}

// publish reports an object unless the store holds the same value when it is written.
func publish[T any](a *Agent, table state.Table[T], kind core.Kind, id string, value T) {
	data := jsonOf(value)
	a.reporter.Report(report.Observation{Kind: kind, ID: id, Size: len(data), Write: func(tx *state.Tx) {
		if old, ok := table.Get(tx, id); ok && string(jsonOf(old)) == string(data) {
			return
		}
		table.Put(tx, id, value)
	}})
}

// jsonOf encodes one of core's nouns, which cannot fail for values that this process made; if it did,
// the store's own encoding would fail in the same way and say so.
func jsonOf(v any) []byte {
	data, _ := json.Marshal(v)
	return data
}
