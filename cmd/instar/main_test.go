package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/apitest"
	"github.com/instarhq/instar/core/state"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"instar": main, "test-driver": testDriver, "test-backend": testBackend})
}

// fixtureKey finds a script's API in its environment values.
type fixtureKey struct{}

// testKey finds the test that a script belongs to.
type testKey struct{}

// The scripts in testdata run the real program against an API over an in-memory store.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			f := apitest.New(t)
			env.Defer(func() { endBackend(env.WorkDir) })
			env.Values[fixtureKey{}] = f
			env.Values[testKey{}] = t
			env.Setenv("INSTAR_ADDR", f.URL)
			env.Setenv("ADDR", f.URL)
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"shop": cmdShop, "secure": cmdSecure, "code": cmdCode, "fail": cmdFail, "advance": cmdAdvance, "answer": cmdAnswer, "uses": cmdUses, "serve": cmdServe,
		},
	})
}

func fixture(ts *testscript.TestScript) *apitest.Fixture {
	return ts.Value(fixtureKey{}).(*apitest.Fixture)
}

// code CODE instar ARGS… runs a command and demands its exit code.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE COMMAND…")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// shop stores a service in the middle of its second rollout.
func cmdShop(ts *testscript.TestScript, _ bool, _ []string) { fixture(ts).Shop(scriptT{ts}) }

// secure serves the API over TLS as well, where TLS and DIGEST say.
func cmdSecure(ts *testscript.TestScript, _ bool, _ []string) {
	s := fixture(ts).Secure(ts.Value(testKey{}).(testing.TB))
	ts.Setenv("TLS", s.URL)
	ts.Setenv("DIGEST", string(s.Digest))
}

// fail CODE makes every operation fail, with a hint; fail none lets them pass again.
func cmdFail(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "none" {
		fixture(ts).Ops.Fail(nil)
		return
	}
	fixture(ts).Ops.Fail(core.Errorf(core.Code(args[0]), "it is %s", args[0]).WithHint("try something else"))
}

// advance PHASE moves the rollout shop/2 on.
func cmdAdvance(ts *testscript.TestScript, _ bool, args []string) {
	var phase core.RolloutPhase
	ts.Check(phase.UnmarshalText([]byte(args[0])))
	fixture(ts).Put(scriptT{ts}, func(tx *state.Tx) {
		r, _ := state.Rollouts.Get(tx, "shop/2")
		r.Phase = phase
		if phase == core.RolloutFailed {
			r.Failure = &core.Failure{Message: "0 of 2 instances became healthy in 60s. Traffic stayed on revision 1.", Logs: []string{"listen tcp :1: bind: address already in use"}}
		}
		state.Rollouts.Put(tx, "shop/2", r)
	})
}

// answer ACTION makes plans say ACTION for shop and writes begin rollout shop/2.
func cmdAnswer(ts *testscript.TestScript, _ bool, args []string) {
	plan := &core.Plan{Services: []core.ServicePlan{{
		Service: "shop", Action: core.Action(args[0]), From: 1, To: 2, Count: 2, Strategy: core.StrategyBlueGreen,
		Diff: []core.Diff{{Path: "env.BANNER", Old: `"hello"`, New: `"welcome"`}, {Path: "env.NEW", New: `"x"`}},
	}}}
	applied := &core.Applied{Receipt: core.Receipt{Origin: "o", Seq: 5}, Rollouts: []string{"shop/2"}}
	if args[0] == "none" {
		applied = &core.Applied{}
		plan.Services[0].Diff = nil
	} else {
		plan.Services[0].Creates, plan.Services[0].Replaces = 2, []string{"shop-a", "shop-b"}
	}
	fixture(ts).Ops.Answer(plan, applied)
}

// scriptT lets fixtures report through a script.
type scriptT struct{ *testscript.TestScript }

func (t scriptT) Helper()           {}
func (t scriptT) Fatal(args ...any) { t.Fatalf("%v", args) }

func TestRunWithoutArguments(t *testing.T) {
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	if code := run(context.Background(), []string{"instar"}, strings.NewReader(""), out, os.Stderr); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}
