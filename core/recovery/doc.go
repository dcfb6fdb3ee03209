// Package recovery brings a cluster back after a restore: the state is older than the world, and the
// world is what serves.
//
// Agents tell what their drivers have, and Classify says how that relates to the restored state. Show
// puts the findings together for people; Approve makes the state agree with what is there, so that
// ordinary planning does the rest; Controller ends the recovery when it has, on the leader.
// core/DESIGN.md tells the whole story under "Restore".
package recovery
