// Package telemetry exports what a node knows in figures: Prometheus metrics of Raft, the store, services,
// rollouts, routes, drivers and the API. docs/observability.md lists them for people.
//
// Three kinds of figures, each with one writer:
//
//   - What a node knows of itself (Raft, store, drivers, API) is exported by every node.
//   - What the cluster's state says (services, instances, routes, nodes, snapshots) is exported by the leader
//     only, so that a sum over nodes is right and no follower that lags disagrees.
//   - What has happened to rollouts and snapshots is counted by whoever leads at that moment, and exported by
//     everybody, so that a sum over nodes is right as well.
//
// Labels are names that operators give (services, routes, nodes, targets, schedules) and closed sets (phases,
// codes, methods, operations). Ids that come and go, of instances, rollouts and revisions, are none.
package telemetry
