// Package control decides, on the leader: the Controller runs the planner (core/rollout) whenever
// something changes and writes what it decides; Operations are the operator's verbs.
//
// The Controller reads every kind of object and writes service, rollout, route and instance; it deletes
// those and the statuses and checks that belong to them. It keeps nothing that is not in the store but
// caches: a new leader's Controller starts from the same objects. Services do not wait for each other.
//
// See DESIGN.md for how planning stays cheap with many instances.
package control
