package api

import "github.com/instarhq/instar/core"

// HasRule reports whether the table has an operation.
func HasRule(operation string) bool { _, ok := rules[operation]; return ok }

// Allowed reports whether the table gives an operation to a role.
func Allowed(operation string, role core.AccessRole) bool { return rules[operation].allows(role) }

// Rules gives the table as text: for every role whether it may, by operation.
func Rules() map[string][]core.AccessRole {
	out := map[string][]core.AccessRole{}
	for operation, r := range rules {
		out[operation] = r.roles
	}
	return out
}
