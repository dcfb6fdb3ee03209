package control_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

func (w *world) planned(d core.Declared) core.ServicePlan {
	w.t.Helper()
	plan, err := w.ops.Plan(w.ctx, core.Set{Services: []core.Declared{d}})
	w.must(err)
	return plan.Services[0]
}

func TestPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.planned(version("shop", 1, 3))
		if p.Action != core.ActionCreate || p.Seq != 0 || p.From != 0 || p.To != 1 || p.Creates != 3 || p.Strategy != core.StrategyBlueGreen || len(p.Diff) == 0 {
			t.Errorf("create: %+v", p)
		}
		w.apply(version("shop", 1, 3))
		w.rest("shop", 1, 3)
		seq := state.Services.Seq(w.state.View(), "shop")

		if p = w.planned(version("shop", 1, 3)); p.Action != core.ActionNone || p.Seq != seq || p.Creates != 0 || len(p.Diff)+len(p.Replaces) != 0 {
			t.Errorf("none: %+v", p)
		}
		if p = w.planned(version("shop", 1, 5)); p.Action != core.ActionScale || p.Creates != 2 || p.From != 1 || p.To != 1 || p.Count != 5 {
			t.Errorf("scale: %+v", p)
		}
		p = w.planned(version("shop", 2, 4))
		if p.Action != core.ActionUpdate || p.From != 1 || p.To != 2 || p.Creates != 4 || strings.Join(p.Replaces, " ") != strings.Join(w.instances(), " ") {
			t.Errorf("update: %+v", p)
		}
		paths := map[string]core.Diff{}
		for _, d := range p.Diff {
			paths[d.Path] = d
		}
		if d := paths["artifact.source"]; !strings.Contains(d.Old, "shop-1.tar.gz") || !strings.Contains(d.New, "shop-2.tar.gz") || paths["artifact.digest"].New == "" {
			t.Errorf("diff: %+v", p.Diff)
		}
		w.apply(version("shop", 2, 3))
		w.phase("shop/2", core.RolloutRetiring)
		if p = w.planned(version("shop", 1, 3)); p.Action != core.ActionReturn || p.To != 1 || p.Creates != 0 || len(p.Replaces) != 3 {
			t.Errorf("return: %+v", p)
		}
		if got := w.store.Seq(); w.planned(version("shop", 3, 1)).To != 3 || w.store.Seq() != got {
			t.Error("a plan has written something")
		}
	})
}

func TestApplyRefusesAPlanThatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		apply := func(d core.Declared, seq uint64) error {
			_, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{d}}, map[string]uint64{d.Name: seq})
			return err
		}
		w.must(apply(version("shop", 1, 2), 0))
		if err := apply(version("shop", 2, 2), 0); !core.IsConflict(err) {
			t.Errorf("somebody else has made the service: %v", err)
		}
		w.rest("shop", 1, 2)
		seq := w.planned(version("shop", 2, 2)).Seq

		// Control writes the service too: a replaced instance is no change of what the operator saw.
		old := w.instances()[0]
		w.set(func() { w.missing[old] = true })
		w.until("a back-off is noted", func(v *state.View) bool {
			svc, _ := state.Services.Get(v, "shop")
			return svc.Backoff != nil && state.Services.Seq(v, "shop") != seq
		})
		w.must(apply(version("shop", 2, 2), seq))
		err := apply(version("shop", 3, 2), seq)
		e, ok := core.AsError(err)
		if !ok || e.Code != core.CodeConflict || e.Object != "service/shop" || e.Hint == "" {
			t.Errorf("%+v", err)
		}
	})
}

func TestRequestIDsMakeVerbsHappenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		meta := func(id string) core.Meta {
			m := ann()
			m.RequestID = id
			return m
		}
		set := core.Set{Services: []core.Declared{version("shop", 1, 1)}}
		first, err := w.ops.Apply(w.ctx, meta("a"), set, nil)
		w.must(err)
		w.rest("shop", 1, 1)
		again, err := w.ops.Apply(w.ctx, meta("a"), set, nil)
		w.must(err)
		if !again.Receipt.Replayed || again.Receipt.Seq != first.Receipt.Seq || fmt.Sprint(again.Rollouts) != "[shop/1]" {
			t.Errorf("%+v, and again %+v", first, again)
		}
		w.apply(version("shop", 2, 1))
		w.phase("shop/2", core.RolloutRetiring)
		first, err = w.ops.Rollback(w.ctx, meta("b"), "shop", 0)
		w.must(err)
		for range 2 { // at once, and when the other revision has the traffic and could be gone back to
			again, err = w.ops.Rollback(w.ctx, meta("b"), "shop", 0)
			w.must(err)
			if !again.Receipt.Replayed || fmt.Sprint(again.Rollouts) != fmt.Sprint(first.Rollouts) {
				t.Errorf("%+v, and again %+v", first, again)
			}
			w.phase("shop/3", core.RolloutRetiring)
		}
		if _, err = w.ops.Scale(w.ctx, meta("c"), "none", 3); !core.IsNotFound(err) {
			t.Errorf("an error stays one: %v", err)
		}
		_, err = w.ops.Delete(w.ctx, meta("d"), "shop")
		w.must(err)
		w.until("nothing left", func(v *state.View) bool { return state.Services.Seq(v, "shop") == 0 })
		if again, err = w.ops.Delete(w.ctx, meta("d"), "shop"); err != nil || !again.Receipt.Replayed {
			t.Errorf("%+v, %v", again, err)
		}
	})
}

func TestSetsAreAppliedAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		broken := version("basket", 1, 1)
		broken.Spec.Artifact.Source = "missing.tar.gz"
		_, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{version("shop", 1, 1), broken}}, nil)
		e, ok := core.AsError(err)
		if !ok || e.Code != core.CodeNotFound || e.Hint != "build it first" || err.Error() != `service "basket", artifact "missing.tar.gz": there is no file missing.tar.gz` {
			t.Errorf("%v", err)
		}
		if state.Services.Seq(w.state.View(), "shop") != 0 {
			t.Error("half of the set was applied")
		}
		applied := w.apply(version("shop", 1, 1), version("basket", 1, 1))
		a, _ := state.Rollouts.Get(w.state.View(), "shop/1")
		if len(applied.Rollouts) != 2 || state.Rollouts.Seq(w.state.View(), "basket/1") != state.Rollouts.Seq(w.state.View(), a.ID()) {
			t.Errorf("%+v", applied)
		}
		w.rest("shop", 1, 1)
		w.rest("basket", 1, 1)
	})
}

func TestConfigsArePinnedAndCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := core.Config{Format: core.Format, Name: "site", Data: []byte("hello")}
		config.Digest = core.DigestBytes(config.Data)
		unused := core.Config{Format: core.Format, Name: "unused", Data: []byte("x"), Digest: core.DigestBytes([]byte("x"))}
		mounted := func(name string) core.Declared {
			d := version(name, 1, 1)
			d.Spec.Mounts = []core.Mount{{Config: "site", Digest: config.Digest, Path: "etc/site.conf"}}
			return d
		}
		_, err := w.ops.Apply(w.ctx, ann(), core.Set{
			Services: []core.Declared{mounted("shop"), mounted("basket")}, Configs: []core.Config{config, unused},
		}, nil)
		w.must(err)
		id := core.ConfigID("site", config.Digest)
		if stored, ok := state.Configs.Get(w.state.View(), id); !ok || string(stored.Data) != "hello" {
			t.Errorf("%+v", stored)
		}
		if state.Configs.Seq(w.state.View(), core.ConfigID("unused", unused.Digest)) != 0 {
			t.Error("a config that nothing mounts was stored")
		}
		for i, name := range []string{"shop", "basket"} {
			_, err := w.ops.Delete(w.ctx, ann(), name)
			w.must(err)
			w.until("nothing left", func(v *state.View) bool { return state.Services.Seq(v, name) == 0 })
			if there := state.Configs.Seq(w.state.View(), id) != 0; there != (i == 0) {
				t.Errorf("after the end of %s the config is there: %t", name, there)
			}
		}
	})
}

func TestConflictsBetweenServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 1))
		w.rest("shop", 1, 1)
		for name, tt := range map[string]struct {
			edit func(r *core.RouteSpec)
			want string
		}{
			"same name":      {func(r *core.RouteSpec) { r.Name = "shop" }, `service "shop" has a route of this name`},
			"same requests":  {func(r *core.RouteSpec) { r.Listen = ":8004" }, "both take the same requests on :8004"},
			"other protocol": {func(r *core.RouteSpec) { r.Listen, r.Protocol = ":8004", core.ProtocolTCP }, "which only http routes can share"},
			"overlapping":    {func(r *core.RouteSpec) { r.Listen = "127.0.0.1:8004" }, "overlap"},
			"tls beside no tls": {func(r *core.RouteSpec) {
				r.Listen, r.Host, r.TLS = ":8004", "a.example", &core.TLS{Certificate: "c", Key: "k"}
			}, "either all have tls or none"},
		} {
			d := version("basket", 1, 1)
			tt.edit(&d.Spec.Routes[0])
			_, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{d}}, nil)
			e, ok := core.AsError(err)
			if !ok || e.Code != core.CodeConflict || !strings.Contains(e.Message, tt.want) || !strings.Contains(e.Message, `"shop"`) || e.Hint == "" || e.Object == "" {
				t.Errorf("%s: %+v", name, err)
			}
			if _, err := w.ops.Plan(w.ctx, core.Set{Services: []core.Declared{d}}); !core.IsConflict(err) {
				t.Errorf("%s: the plan says %v", name, err)
			}
		}
		// What a rollout may go back to is in use too.
		second := version("shop", 2, 1)
		second.Spec.Routes = nil
		w.apply(second)
		w.phase("shop/2", core.RolloutRetiring)
		w.until("the route is gone", func(v *state.View) bool { return state.Routes.Seq(v, "shop") == 0 })
		taker := version("basket", 1, 1)
		taker.Spec.Routes[0].Listen = ":8004"
		if _, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{taker}}, nil); !core.IsConflict(err) {
			t.Errorf("the listener of the warm revision is taken: %v", err)
		}
		w.rest("shop", 2, 1)
		w.apply(taker)
		w.rest("basket", 1, 1)
		if _, err := w.ops.Rollback(w.ctx, ann(), "shop", 1); !core.IsConflict(err) {
			t.Errorf("a rollback takes the listener of another service: %v", err)
		}
	})
}

func TestRoutesStayWithTheirDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 1))
		w.rest("shop", 1, 1)
		d := version("shop", 2, 1)
		d.Spec.Routes[0].Target = "other"
		_, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{d}}, nil)
		if !core.IsConflict(err) || !strings.Contains(err.Error(), "cannot move from traffic driver proxy to proxy/other") {
			t.Errorf("%v", err)
		}
	})
}

func TestRefusedOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 1))
		w.rest("shop", 1, 1)
		id := w.instances()[0]
		call := func(fn func(ctx context.Context, m core.Meta) (core.Applied, error)) error {
			_, err := fn(w.ctx, ann())
			return err
		}
		for name, tt := range map[string]struct {
			err  error
			code core.Code
		}{
			"unknown service":  {call(func(ctx context.Context, m core.Meta) (core.Applied, error) { return w.ops.Rollback(ctx, m, "x", 0) }), core.CodeNotFound},
			"unknown revision": {call(func(ctx context.Context, m core.Meta) (core.Applied, error) { return w.ops.Rollback(ctx, m, "shop", 9) }), core.CodeNotFound},
			"unknown rollout":  {call(func(ctx context.Context, m core.Meta) (core.Applied, error) { return w.ops.Abort(ctx, m, "shop/9") }), core.CodeNotFound},
			"no service in id": {call(func(ctx context.Context, m core.Meta) (core.Applied, error) { return w.ops.Abort(ctx, m, "") }), core.CodeNotFound},
			"ended rollout":    {call(func(ctx context.Context, m core.Meta) (core.Applied, error) { return w.ops.Abort(ctx, m, "shop/1") }), core.CodeConflict},
			"unknown instance": {call(func(ctx context.Context, m core.Meta) (core.Applied, error) {
				return w.ops.ReplaceInstance(ctx, m, "x")
			}), core.CodeNotFound},
			"too many": {call(func(ctx context.Context, m core.Meta) (core.Applied, error) {
				return w.ops.Scale(ctx, m, "shop", 50000)
			}), core.CodeTooLarge},
			"not valid": {call(func(ctx context.Context, m core.Meta) (core.Applied, error) {
				return w.ops.Apply(ctx, m, core.Set{Services: []core.Declared{{Name: "No!"}}}, nil)
			}), core.CodeInvalid},
		} {
			if core.CodeOf(tt.err) != tt.code {
				t.Errorf("%s: %v, want %s", name, tt.err, tt.code)
			}
			if e, ok := core.AsError(tt.err); ok && tt.code != core.CodeInvalid && e.Hint == "" {
				t.Errorf("%s: %v does not say what to do", name, tt.err)
			}
		}
		w.set(func() { w.quietFor[id] = true })
		_, err := w.ops.Delete(w.ctx, ann(), "shop")
		w.must(err)
		if _, err := w.ops.ReplaceInstance(w.ctx, ann(), id); !core.IsConflict(err) {
			t.Errorf("replace one that goes: %v", err)
		}
		if _, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: []core.Declared{version("shop", 2, 1)}}, nil); !core.IsConflict(err) || !strings.Contains(err.Error(), "being deleted") {
			t.Errorf("apply to one that goes: %v", err)
		}
		if a, err := w.ops.Delete(w.ctx, ann(), "shop"); err != nil || a.Receipt.Seq != 0 {
			t.Errorf("delete it again: %+v, %v", a, err)
		}
	})
}

func TestWhatDoesNotFitTakesSeveralTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWithBudget(t, 8<<10)
		w.apply(version("shop", 1, 60))
		w.rest("shop", 1, 60)
		w.apply(version("shop", 2, 60))
		w.rest("shop", 2, 60)
		w.set(func() { w.bad["shop-3.tar.gz"] = true })
		w.apply(version("shop", 3, 50))
		w.phase("shop/3", core.RolloutFailed)
		w.rest("shop", 2, 60)
		_, err := w.ops.Scale(w.ctx, ann(), "shop", 5)
		w.must(err)
		w.rest("shop", 2, 5)
		_, err = w.ops.Delete(w.ctx, ann(), "shop")
		w.must(err)
		w.until("nothing left", func(v *state.View) bool { return state.Services.Seq(v, "shop") == 0 })
		w.orphans()

		made := 0
		for seq := uint64(1); seq <= w.store.Seq(); seq++ {
			rec, err := w.store.Record(w.ctx, seq)
			w.must(err)
			if rec.Txn.Meta.Verb == "instance.create" {
				made++
			}
			if m := rec.Txn.Meta; m.Principal == "controller" && len(rec.Raw) > 40<<10 { // two pools of 60 in a route
				t.Errorf("record %d (%s) has %d bytes", seq, m.Verb, len(rec.Raw))
			}
		}
		if made < 10 {
			t.Errorf("170 instances were made in %d transactions", made)
		}
	})
}

func TestOneInstanceIsActedOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begin := time.Now()
		w.apply(version("shop", 1, 1))
		synctest.Wait()
		if got := w.instances(); len(got) != 1 || time.Since(begin) != 0 {
			t.Errorf("%v after %s", got, time.Since(begin))
		}
	})
}
