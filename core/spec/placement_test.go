package spec_test

import (
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

func placed(change func(*core.Spec)) core.Declared {
	d := core.Declared{Name: "web", Count: 1, Spec: core.Spec{Compute: core.Compute{Driver: "process"}}}
	if change != nil {
		change(&d.Spec)
	}
	spec.Normalise(&d)
	return d
}

func digest(t *testing.T, d core.Declared) core.Digest {
	t.Helper()
	out, err := core.DigestJSON(d.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What says nothing about places has the digest that it had before anybody could.
func TestPlacementLeavesDigestsAlone(t *testing.T) {
	plain := placed(nil)
	empty := placed(func(s *core.Spec) { s.Constraints, s.Spread = []core.Constraint{}, []core.Spread{} })
	if digest(t, plain) != digest(t, empty) {
		t.Error("an empty list makes another revision")
	}
	const known = "sha256:51470c510566992101da45213e44a37906ec8232e47244c6093300df3c2d6cf9"
	if got := digest(t, plain); got != known {
		t.Errorf("the digest of a plain service is %s", got)
	}
}

func TestPlacementIsNormalised(t *testing.T) {
	a := placed(func(s *core.Spec) {
		s.Constraints = []core.Constraint{
			{Attribute: "rack", Operator: core.ConstraintIn, Values: []string{"b", "a", "b"}},
			{Attribute: "node.name", Values: []string{"n1"}},
			{Attribute: "node.name", Operator: core.ConstraintEqual, Values: []string{"n1"}},
		}
		s.Spread = []core.Spread{{Attribute: "zone"}, {Attribute: "node.labels.rack"}}
	})
	b := placed(func(s *core.Spec) {
		s.Constraints = []core.Constraint{
			{Attribute: "node.name", Operator: core.ConstraintEqual, Values: []string{"n1"}},
			{Attribute: "node.labels.rack", Operator: core.ConstraintIn, Values: []string{"a", "b"}},
		}
		s.Spread = []core.Spread{{Attribute: "node.labels.zone"}, {Attribute: "node.labels.rack"}}
	})
	if digest(t, a) != digest(t, b) {
		t.Errorf("%+v\n%+v", a.Spec, b.Spec)
	}
	other := placed(func(s *core.Spec) { s.Spread = []core.Spread{{Attribute: "rack"}, {Attribute: "zone"}} })
	if len(other.Spec.Spread) != 2 || other.Spec.Spread[0].Attribute != "node.labels.rack" {
		t.Errorf("the order of spread counts: %+v", other.Spec.Spread)
	}
}

func TestPlacementIsChecked(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	rule := func(attribute string, op core.ConstraintOperator, values ...string) func(*core.Spec) {
		return func(s *core.Spec) {
			s.Constraints = []core.Constraint{{Attribute: attribute, Operator: op, Values: values}}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*core.Spec)
		want   string // part of the fault; empty: none
	}{
		{"equal", rule("rack", core.ConstraintEqual, "a"), ""},
		{"equal to nothing", rule("rack", core.ConstraintEqual, ""), ""},
		{"exists", rule("rack", core.ConstraintExists), ""},
		{"equal without a value", rule("rack", core.ConstraintEqual), "takes one value, not 0"},
		{"equal to two", rule("rack", core.ConstraintNotEqual, "a", "b"), "use in or not_in"},
		{"in nothing", rule("rack", core.ConstraintIn), "takes 1 to 64 values, not 0"},
		{"in too many", rule("rack", core.ConstraintNotIn, many...), "not 65"},
		{"exists with a value", rule("rack", core.ConstraintNotExists, "a"), "takes no value"},
		{"unknown operator", rule("rack", "like", "a"), `not "like"`},
		{"unknown attribute", rule("node.version", core.ConstraintEqual, "a"), `"node.version" is no attribute`},
		{"no attribute", rule("", core.ConstraintEqual, "a"), "is no attribute"},
		{"no label", rule("node.labels.", core.ConstraintEqual, "a"), "is no attribute"},
		{"long value", rule("rack", core.ConstraintEqual, strings.Repeat("x", 300)), "at most 256 bytes"},
		{"long attribute", rule(strings.Repeat("x", 300), core.ConstraintExists), "at most 256 bytes"},
		{"too many constraints", func(s *core.Spec) {
			for _, v := range many {
				s.Constraints = append(s.Constraints, core.Constraint{Attribute: "rack", Operator: core.ConstraintNotEqual, Values: []string{v}})
			}
		}, "at most 32 constraints"},
		{"spread twice", func(s *core.Spec) { s.Spread = []core.Spread{{Attribute: "zone"}, {Attribute: "node.labels.zone"}} }, "already"},
		{"spread over nothing", func(s *core.Spec) { s.Spread = []core.Spread{{}} }, "is no attribute"},
		{"spread over too much", func(s *core.Spec) {
			for _, v := range many[:5] {
				s.Spread = append(s.Spread, core.Spread{Attribute: v})
			}
		}, "at most 4 attributes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := placed(tt.change)
			d.Spec.Compute.Config = []byte(`{"command":["./web"]}`)
			err := spec.Validate(core.Set{Services: []core.Declared{d}}, testDrivers)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestPlacementInADiff(t *testing.T) {
	old := placed(func(s *core.Spec) {
		s.Constraints = []core.Constraint{{Attribute: "rack", Values: []string{"a"}}}
	})
	next := placed(func(s *core.Spec) {
		s.Constraints = []core.Constraint{
			{Attribute: "rack", Operator: core.ConstraintIn, Values: []string{"a", "b"}}, {Attribute: "rack", Operator: core.ConstraintNotEqual, Values: []string{"c"}},
		}
		s.Spread = []core.Spread{{Attribute: "zone"}}
	})
	got := ""
	for _, d := range spec.Diff(&old.Spec, &next.Spec, nil) {
		got += d.Path + ": " + d.Old + " → " + d.New + "\n"
	}
	want := `constraint["node.labels.rack"]: = "a" → != "c"
constraint[1]["node.labels.rack"]:  → in "a" "b"
spread:  → node.labels.zone
`
	if got != want {
		t.Errorf("diff\n%swant\n%s", got, want)
	}
}

func TestPlacementFromHCL(t *testing.T) {
	const text = `
service "db" {
  compute "process" { command = ["./db"] }
  constraint {
    attribute = "node.labels.disk"
    value     = "ssd"
  }
  constraint {
    attribute = "node.name"
    operator  = "not_in"
    values    = ["n5", "n4"]
  }
  constraint {
    attribute = "rack"
    operator  = "exists"
  }
  spread { attribute = "zone" }
}
`
	set := evaluate(t, text, spec.Options{Schemas: testDrivers})
	got, _ := core.DigestJSON(set.Services[0].Spec.Constraints)
	want, _ := core.DigestJSON([]core.Constraint{
		{Attribute: "node.labels.disk", Operator: core.ConstraintEqual, Values: []string{"ssd"}},
		{Attribute: "node.labels.rack", Operator: core.ConstraintExists},
		{Attribute: "node.name", Operator: core.ConstraintNotIn, Values: []string{"n4", "n5"}},
	})
	if got != want || len(set.Services[0].Spec.Spread) != 1 {
		t.Errorf("%+v", set.Services[0].Spec)
	}
}
