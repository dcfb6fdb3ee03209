// Package core holds the nouns of instar, the port to the replicated store, and the error codes.
//
// Everything else speaks in these types: core/spec produces them from HCL, raftstore keeps them as
// JSON, core/control and core/agent move them through their phases, core/api hands them out unchanged.
// The package imports the standard library only, has no behaviour beyond small pure methods on its
// values, and never reads a clock.
//
// # Ownership
//
// Each stored kind has exactly one writer, so that no two loops ever fight over an object:
//
//	service, revision, config   the operator's verbs (core/control.Operations, on the leader)
//	rollout, route, instance    core/control, on the leader: desired state
//	instance_status             the agent of the instance's node: observed state
//	route_status, check         the agent of each traffic node: observed state
//	node, driver                the agent of that node
//	finding                     the agent of that node, while the cluster observes after a restore
//	cluster, member, join_token core/cluster, on the leader
//	node_status, lease          core/control, on the leader
//	token                       the operator's verbs
//	recovery                    core/recovery, on the leader
//	checkpoint, schedule        the operator's verbs; schedule.last core/recovery, on the leader
//
// # Formats
//
// Every stored type carries a format number; a reader refuses a number that it does not know
// (see CheckFormat) instead of guessing.
package core
