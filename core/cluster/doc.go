// Package cluster is membership: how a cluster begins, how machines join it, what the leader does for its
// members (certificates, promotion, removal, the level of stored formats), and how they leave. DESIGN.md
// has the protocol, and what a crash between two of its steps leads to.
package cluster
