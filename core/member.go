package core

import "time"

// The kinds of objects that make a cluster of several nodes.
const (
	KindCluster    Kind = "cluster"     // one object, ClusterID
	KindMember     Kind = "member"      // by node name
	KindNodeStatus Kind = "node_status" // by node name
	KindLease      Kind = "lease"       // by LeaseID
)

// Level is the newest level of the stored formats that this build reads and writes. A cluster writes
// what a level introduced only once every member can read it (Cluster.Level), so that nodes of two
// versions run side by side.
//
//	1  the first
//	2  rollouts with the strategy rolling: LevelRolling
const Level = LevelRolling

// LevelRolling is the level that rolling rollouts came with.
const LevelRolling = 2

// ClusterObject is the id of the only Cluster object.
const ClusterObject = "cluster"

// Cluster is what all members of a cluster agree on. Absent as long as a node is a cluster of its own.
type Cluster struct {
	Format int `json:"format"`
	// CA are the certificates, PEM, that members' and clients' certificates are checked against: the
	// one that signs first, then those that it replaced and that have not expired.
	CA    []string `json:"ca"`
	Level int      `json:"level"` // of the stored formats; grows, never falls
	// DeadAfter is for how long a voter may be unreachable before it is removed by itself, as long as
	// the rest keeps a quorum without it. 0: never. Default 24h.
	DeadAfter Duration `json:"dead_after"`
	// NodeGrace is for how long a node may be unreachable before its instances are replaced elsewhere.
	// Default 30s.
	NodeGrace Duration `json:"node_grace"`
}

// Role says what a member is in Raft. Both run instances.
type Role string

// The roles of a member.
const (
	RoleVoter  Role = "voter"
	RoleWorker Role = "worker" // has the whole state, does not vote
)

// Member is one node's membership: who may speak as this node. Written by the leader when a node
// joins, leaves, is removed, or renews its certificate.
type Member struct {
	Format  int         `json:"format"`
	Name    string      `json:"name"`
	Role    Role        `json:"role"` // what it is meant to be; a voter is promoted when it has caught up
	Address string      `json:"address"`
	State   MemberState `json:"state"`
	Joined  time.Time   `json:"joined"`
	Since   time.Time   `json:"since"`            // when State was entered
	Reason  string      `json:"reason,omitempty"` // of State
	// Certificates are those that have been issued and have not expired, oldest first.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Drain asks for the node's instances to be moved elsewhere; nothing new is placed on it.
	Drain *Drain `json:"drain,omitempty"`
}

// MemberState is where a member is in its life.
type MemberState string

// The states of a member. A removed one stays as an object until its certificates have expired.
const (
	MemberActive  MemberState = "active"
	MemberLeaving MemberState = "leaving" // being drained, or handing over leadership
	MemberRemoved MemberState = "removed" // its certificates are refused
)

// Certificate identifies an issued certificate.
type Certificate struct {
	Serial   string    `json:"serial"` // lower-case hexadecimal
	NotAfter time.Time `json:"not_after"`
	Revoked  bool      `json:"revoked,omitempty"`
}

// Drain is an operator's wish to empty a node.
type Drain struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// NodeStatus is what the leader has seen of a node's liveness. Only transitions are written.
type NodeStatus struct {
	Format int       `json:"format"`
	Node   string    `json:"node"`
	State  NodeState `json:"state"`
	Since  time.Time `json:"since"` // when State was entered
	Reason string    `json:"reason,omitempty"`
}

// NodeState is a node's liveness.
type NodeState string

// The states of a node. A node without a status is ready.
const (
	NodeReady NodeState = "ready"
	// NodeUnreachable: no heartbeat for a few seconds. Its instances leave the routes of other nodes,
	// nothing is placed on it, a switch does not wait for it.
	NodeUnreachable NodeState = "unreachable"
	// NodeDown: unreachable for longer than Cluster.NodeGrace. Its instances are replaced elsewhere.
	NodeDown NodeState = "down"
)

// Lease lets one node's agent act on a cluster-scoped target. The leader gives it to another node only
// when the holder has given it up, or has been unreachable for longer than it acts without a leader.
type Lease struct {
	Format int       `json:"format"`
	Kind   string    `json:"kind"` // of the driver: compute, traffic
	Driver string    `json:"driver"`
	Target string    `json:"target"`
	Node   string    `json:"node"`  // the holder; empty: nobody
	Epoch  uint64    `json:"epoch"` // grows with every new holder
	Since  time.Time `json:"since"`
}

// LeaseID is the id of a lease object: "compute/ec2/eu".
func LeaseID(kind DriverKind, driver, target string) string {
	return string(kind) + "/" + driver + "/" + target
}
