package core

import "time"

// The kinds of objects that say who may do what.
const (
	KindToken     Kind = "token"      // by Token.ID
	KindJoinToken Kind = "join_token" // by JoinToken.ID
)

// AccessRole bounds what a principal may do. Everything that no role of it allows is refused.
type AccessRole string

// The access roles.
const (
	AccessAdmin    AccessRole = "admin"    // everything
	AccessOperator AccessRole = "operator" // services, nodes, snapshots; neither members, tokens nor restore
	AccessDeployer AccessRole = "deployer" // writes to the services that the token names; reads everything but the audit log
	AccessAuditor  AccessRole = "auditor"  // reads everything, the audit log and its exports too
	AccessViewer   AccessRole = "viewer"   // reads everything but the audit log, exports and instances' output
)

// Token lets a person or a pipeline call the API. The secret itself is never stored.
type Token struct {
	Format    int        `json:"format"`
	ID        string     `json:"id"`
	Principal string     `json:"principal"` // "token:ci": who the log says it was
	Role      AccessRole `json:"role"`
	Services  []string   `json:"services,omitempty"` // deployer: service names, or prefixes that end with *
	Secret    Digest     `json:"secret"`             // SHA-256 of the secret, which has 256 random bits
	Created   time.Time  `json:"created"`
	CreatedBy string     `json:"created_by"`
	Expires   time.Time  `json:"expires,omitzero"` // zero: never
}

// JoinToken lets machines become members.
type JoinToken struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	Role      Role      `json:"role"`
	Secret    Digest    `json:"secret"` // SHA-256 of the secret
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Expires   time.Time `json:"expires"`
	Uses      int       `json:"uses"`             // how often it may still be used; it is deleted at 0
	Node      string    `json:"node,omitempty"`   // the only name that may join with it; empty: any
	Joined    []string  `json:"joined,omitempty"` // the nodes that used it
}
