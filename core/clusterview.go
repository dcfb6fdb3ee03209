package core

import "time"

// ClusterStatus is the membership in one screen: who leads, who lags, what is at risk.
type ClusterStatus struct {
	Node      string       `json:"node"`   // the node that answers
	Origin    string       `json:"origin"` // name/cluster-id/generation of the log
	Leader    string       `json:"leader,omitempty"`
	Term      uint64       `json:"term"`
	Seq       uint64       `json:"seq"`   // the newest record that any reachable member has
	Level     int          `json:"level"` // of the stored formats; 0: a node that is a cluster of its own
	Members   []MemberView `json:"members"`
	Voters    int          `json:"voters"`
	Quorum    int          `json:"quorum"`             // how many voters must agree
	Tolerates int          `json:"tolerates"`          // how many more voters may fail now
	Recovery  *Recovery    `json:"recovery,omitempty"` // restored, and not done with it
	Risks     []Risk       `json:"risks"`              // worst first
}

// MemberView is a member with what is seen of it now.
type MemberView struct {
	Member    Member      `json:"member"`
	Status    *NodeStatus `json:"status,omitempty"` // what the leader has seen; nil: nothing amiss yet
	Leader    bool        `json:"leader,omitempty"`
	Voter     bool        `json:"voter"` // in Raft, now
	Reachable bool        `json:"reachable"`
	Error     string      `json:"error,omitempty"` // why it is not reachable
	Replica   *Replica    `json:"replica,omitempty"`
	Lag       uint64      `json:"lag"` // records behind
	Instances int         `json:"instances"`
	API       string      `json:"api,omitempty"`
	Expires   time.Time   `json:"expires,omitzero"` // the certificate in use, or the newest one
}

// Replica is what a member says of itself.
type Replica struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Level   int       `json:"level"` // the newest level of stored formats that it reads
	Origin  string    `json:"origin"`
	State   string    `json:"state"` // in Raft: leader, follower, candidate
	Term    uint64    `json:"term"`
	Leader  string    `json:"leader,omitempty"`
	Seq     uint64    `json:"seq"`
	Started time.Time `json:"started"`
	Expires time.Time `json:"expires,omitzero"` // its certificate
	CA      bool      `json:"ca"`               // it has the CA's key
}

// Risk is something that an operator should know before it hurts.
type Risk struct {
	Severity Severity `json:"severity"`
	Node     string   `json:"node,omitempty"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

// Severity orders risks.
type Severity string

// The severities.
const (
	SeverityCritical Severity = "critical" // one more failure and something stops, or it has already
	SeverityWarning  Severity = "warning"
	SeverityNotice   Severity = "notice"
)

// JoinTokenRequest says what a new join token allows. Zero values mean the defaults: a voter, an hour, ten
// uses, any name.
type JoinTokenRequest struct {
	Role    Role     `json:"role,omitempty"`
	Expires Duration `json:"expires,omitempty"` // from now
	Uses    int      `json:"uses,omitempty"`
	Node    string   `json:"node,omitempty"` // the only name that may join with it, once
}

// JoinTokenView is a join token with the text that machines are given. The text is shown once.
type JoinTokenView struct {
	Token JoinToken `json:"token"`
	Text  string    `json:"text,omitempty"`
}

// Joined is the answer to a node that has begun a cluster or become a member of one.
type Joined struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster"` // its name
	ID      string `json:"id"`
	Role    Role   `json:"role"`
	Address string `json:"address"`      // where other members reach this node
	CA      Digest `json:"ca,omitempty"` // of the cluster's CA, by which people know it when they log in
}

// NodeView is a node with its membership, and with what the leader has seen of it.
type NodeView struct {
	Name      string      `json:"name"`
	Leader    bool        `json:"leader,omitempty"`
	Node      *Node       `json:"node,omitempty"`   // nil until its agent has described it
	Member    *Member     `json:"member,omitempty"` // nil on a node that is a cluster of its own
	Status    *NodeStatus `json:"status,omitempty"` // nil: nothing was ever amiss
	Instances int         `json:"instances"`
}
