package spec

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// maxLocals bounds the local values of a set, and with them how deep they can build on each other.
const maxLocals = 5000

// resolveLocals evaluates the local values in the order in which they need each other.
func (e *evaluation) resolveLocals() {
	if len(e.locals) > maxLocals {
		e.add(problem("Too many local values", fmt.Sprintf("There are %d, at most %d are evaluated.", len(e.locals), maxLocals)))
		e.locals = nil
		return
	}
	for name := range e.locals {
		e.scope.locals[name] = cty.DynamicVal // so that references are found; the value follows
	}
	r := localResolver{evaluation: e, state: map[string]localState{}}
	for _, name := range keysOf(e.locals) {
		r.resolve(name)
	}
}

type localState int

const (
	localPending localState = iota
	localActive             // being resolved: meeting it again is a cycle
	localDone
)

type localResolver struct {
	*evaluation
	state map[string]localState
	path  []string // the active ones, outermost first
}

func (r *localResolver) resolve(name string) {
	attr, ok := r.locals[name]
	if !ok || r.state[name] == localDone {
		return
	}
	if r.state[name] == localActive {
		r.cycle(name)
		return
	}
	r.state[name] = localActive
	r.path = append(r.path, name)
	for _, ref := range attr.Expr.Variables() {
		if ref.RootName() != rootLocal {
			continue
		}
		if needed, ok := attributeOf(ref); ok {
			r.resolve(needed)
		}
	}
	r.path = r.path[:len(r.path)-1]
	if r.state[name] == localDone { // part of a cycle
		return
	}
	r.state[name] = localDone
	v, diags := r.scope.eval(attr.Expr, nil)
	r.add(diags)
	r.scope.locals[name] = v
}

// cycle reports the cycle that ends in name, once, and gives up on its members.
func (r *localResolver) cycle(name string) {
	start := len(r.path) - 1
	for r.path[start] != name {
		start--
	}
	members := r.path[start:]
	for _, member := range members {
		r.state[member] = localDone
	}
	attr := r.locals[name]
	detail := fmt.Sprintf("The local value %q needs itself.", name)
	if len(members) > 1 {
		detail = fmt.Sprintf("These local values need each other: %s → %s.", strings.Join(members, " → "), name)
	}
	r.add(hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Circular reference", Detail: detail, Subject: attr.Expr.Range().Ptr(),
	}})
}
