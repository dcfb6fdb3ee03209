package api

import "github.com/instarhq/instar/core"

// HasRule reports whether the table has an operation.
func HasRule(operation string) bool { _, ok := rules[operation]; return ok }

// Allowed reports whether the table gives an operation to a role.
func Allowed(operation string, role core.AccessRole) bool { return rules[operation].allows(role) }
