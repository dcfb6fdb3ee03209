package api

import (
	"context"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// guard lets a deployer only at the services that the token names. Everybody else has been judged by the
// table already.
type guard struct {
	Operations
	state *state.State
}

// Apply implements Operations: every service of the set must be the caller's, and every config object must
// belong to one of them.
func (g guard) Apply(ctx context.Context, meta core.Meta, set core.Set, expect map[string]uint64) (core.Applied, error) {
	mounted := map[string]bool{}
	for i := range set.Services {
		if err := mayChange(ctx, set.Services[i].Name); err != nil {
			return core.Applied{}, err
		}
		for _, m := range set.Services[i].Spec.Mounts {
			mounted[m.Config] = true
		}
	}
	for i := range set.Configs {
		if c := identity.CallerOf(ctx); c.Role == core.AccessDeployer && !mounted[set.Configs[i].Name] {
			return core.Applied{}, core.Errorf(core.CodeDenied, "%s may not store the config object %q: none of the services that are applied mounts it",
				c.Principal, set.Configs[i].Name).WithObject(core.KindConfig, set.Configs[i].Name).WithHint("leave it out, or mount it")
		}
	}
	return g.Operations.Apply(ctx, meta, set, expect)
}

// Rollback implements Operations.
func (g guard) Rollback(ctx context.Context, meta core.Meta, service string, to int) (core.Applied, error) {
	if err := mayChange(ctx, service); err != nil {
		return core.Applied{}, err
	}
	return g.Operations.Rollback(ctx, meta, service, to)
}

// Scale implements Operations.
func (g guard) Scale(ctx context.Context, meta core.Meta, service string, count int) (core.Applied, error) {
	if err := mayChange(ctx, service); err != nil {
		return core.Applied{}, err
	}
	return g.Operations.Scale(ctx, meta, service, count)
}

// Delete implements Operations.
func (g guard) Delete(ctx context.Context, meta core.Meta, service string) (core.Applied, error) {
	if err := mayChange(ctx, service); err != nil {
		return core.Applied{}, err
	}
	return g.Operations.Delete(ctx, meta, service)
}

// Abort implements Operations.
func (g guard) Abort(ctx context.Context, meta core.Meta, rollout string) (core.Applied, error) {
	service, _, _ := strings.Cut(rollout, "/")
	if err := mayChange(ctx, service); err != nil {
		return core.Applied{}, err
	}
	return g.Operations.Abort(ctx, meta, rollout)
}

// ReplaceInstance implements Operations.
func (g guard) ReplaceInstance(ctx context.Context, meta core.Meta, instance string) (core.Applied, error) {
	if identity.CallerOf(ctx).Role == core.AccessDeployer {
		inst, err := state.Instances.Find(g.state.View(), instance)
		if err != nil {
			return core.Applied{}, err
		}
		if err := mayChange(ctx, inst.Service); err != nil {
			return core.Applied{}, err
		}
	}
	return g.Operations.ReplaceInstance(ctx, meta, instance)
}

// mayChange refuses a deployer a service that the token does not name.
func mayChange(ctx context.Context, service string) error {
	c := identity.CallerOf(ctx)
	if c.Role != core.AccessDeployer || slices.ContainsFunc(c.Services, func(p string) bool { return named(p, service) }) {
		return nil
	}
	return core.Errorf(core.CodeDenied, "%s may change %s, not the service %q", c.Principal, strings.Join(c.Services, ", "), service).
		WithObject(core.KindService, service).
		WithHint("an administrator can give you a token that names it: instar token create NAME -role deployer -service %s", service)
}

// named matches a service with an entry of Token.Services: a name, or a beginning that ends with *.
func named(pattern, service string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(service, prefix)
	}
	return pattern == service
}
