package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/instarhq/instar/core"
)

// variant is a way to replace all containers.
type variant struct {
	strategy core.Strategy
	surge    int // rolling: how many more than wanted there may be
}

// variantsOf reads their names, separated by commas. A fifth more than wanted is what a rolling one may have.
func variantsOf(names string, instances int) ([]variant, error) {
	var out []variant
	for name := range strings.SplitSeq(names, ",") {
		switch v := (variant{strategy: core.Strategy(name)}); v.strategy {
		case core.StrategyBlueGreen:
			out = append(out, v)
		case core.StrategyRolling:
			v.surge = max(1, instances/5)
			out = append(out, v)
		default:
			return nil, fmt.Errorf("there is no strategy %q: %s or %s", name, core.StrategyBlueGreen, core.StrategyRolling)
		}
	}
	return out, nil
}

// rollout is how instar replaces.
func (v variant) rollout() core.RolloutSpec {
	r := core.RolloutSpec{Strategy: v.strategy, ProgressDeadline: core.Duration(limit)}
	if v.strategy == core.StrategyRolling {
		r.MaxSurge, r.MaxUnavailable = core.Bound(strconv.Itoa(v.surge)), "0"
	}
	return r
}

// parallelism is how many of n containers are replaced at a time.
func (v variant) parallelism(n int) int {
	if v.strategy == core.StrategyRolling {
		return v.surge
	}
	return n
}

// roll makes the same calls as replacing all at once, but each container that is made has one of the old ones
// removed before the next is made in its place.
func (f *floor) roll(ctx context.Context, n, surge int) error {
	fresh := make([]string, n)
	err := each(n, surge, func(i int) (err error) {
		if fresh[i], err = f.one(ctx, i); err != nil {
			return err
		}
		return f.end(ctx, f.ids[i])
	})
	f.made, f.ids = f.made+n, fresh
	return err
}
