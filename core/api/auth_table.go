package api

import (
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
)

// rule says who may call an operation.
type rule struct {
	roles  []core.AccessRole
	public bool // nobody is asked who it is
}

// The groups of roles that operations are given to. docs/security.md has the table for people; a test
// compares the two.
var (
	public   = rule{public: true}
	everyone = rule{roles: []core.AccessRole{core.AccessAdmin, core.AccessOperator, core.AccessDeployer, core.AccessAuditor, core.AccessViewer}}
	insiders = rule{roles: []core.AccessRole{core.AccessAdmin, core.AccessOperator, core.AccessDeployer, core.AccessAuditor}}
	audits   = rule{roles: []core.AccessRole{core.AccessAdmin, core.AccessOperator, core.AccessAuditor}}
	deploys  = rule{roles: []core.AccessRole{core.AccessAdmin, core.AccessOperator, core.AccessDeployer}} // a deployer's services: auth_objects.go
	operates = rule{roles: []core.AccessRole{core.AccessAdmin, core.AccessOperator}}
	oversees = rule{roles: []core.AccessRole{core.AccessAdmin, core.AccessAuditor}}
	admins   = rule{roles: []core.AccessRole{core.AccessAdmin}}
)

// rules is the one table of who may do what, by operation id; a handler that is not an operation of the
// OpenAPI document has its pattern for a key. What is not in it is refused to everybody.
var rules = map[string]rule{
	"health": public, "livez": public, "readyz": public, // without details for those who are nobody
	"whoami": everyone,

	"status": everyone, "watch": everyone, "events": everyone, "metrics": everyone,
	"list-services": everyone, "show-service": everyone, "list-revisions": everyone, "show-revision": everyone, "diff-revisions": everyone,
	"list-rollouts": everyone, "show-rollout": everyone, "list-instances": everyone, "show-instance": everyone,
	"list-routes": everyone, "show-route": everyone, "list-nodes": everyone, "list-drivers": everyone, "show-config": everyone,
	"cluster-status": everyone, "list-cluster-nodes": everyone, "show-cluster-node": everyone,
	"instance-logs": insiders,

	// Hashes say nothing about what is in the log, and more people who keep them make it safer.
	"tree-head": everyone, "checkpoint": everyone, "prove-consistency": everyone,
	"list-records": audits, "show-record": audits, "prove-record": audits, "export": audits,

	"plan": deploys, "apply": deploys, "rollback-service": deploys, "scale-service": deploys, "delete-service": deploys,
	"abort-rollout": deploys, "replace-instance": deploys,
	"drain-node": operates, "undrain-node": operates, "show-drain": everyone,

	"list-checkpoints": everyone, "create-checkpoint": operates, "delete-checkpoint": operates, "plan-return": operates, "return": operates,
	// A snapshot has everything in it, the audit log too.
	"download-snapshot": operates, "save-snapshot": operates, "list-snapshots": operates, "prune-snapshots": operates,
	"verify-snapshot": operates, "drill": operates, "list-schedules": everyone, "put-schedule": operates, "delete-schedule": operates,
	"restore": admins, "show-recovery": everyone, "approve-recovery": admins,

	"debug": admins,

	"list-tokens": oversees, "create-token": admins, "revoke-token": admins,
	"list-join-tokens": oversees, "create-join-token": admins, "revoke-join-token": admins,
	"cluster-init": admins, "cluster-join": admins, "cluster-leave": admins, "remove-member": admins,
}

// allows reports whether a role may call the operation.
func (r rule) allows(role core.AccessRole) bool {
	return r.public || slices.Contains(r.roles, role)
}

// needs names the roles that may, for people.
func (r rule) needs() string {
	if len(r.roles) == 0 {
		return "nobody may do that"
	}
	names := make([]string, len(r.roles))
	for i, role := range r.roles {
		names[i] = string(role)
	}
	if len(names) == 1 {
		return "it takes the role " + names[0]
	}
	return "it takes one of the roles " + strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
