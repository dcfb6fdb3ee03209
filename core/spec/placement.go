package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/instarhq/instar/core"
)

// Bounds of what is said about places.
const (
	maxConstraints = 32
	maxSpread      = 4
	maxPlaceValues = 64
	maxPlaceText   = 256
)

var (
	constraintSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "attribute", Required: true}, {Name: "operator"}, {Name: "value"}, {Name: "values"},
	}}
	spreadSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "attribute", Required: true}}}
)

// constraintValues says how many values each operator takes at most; the least is one, or none for none.
var constraintValues = map[core.ConstraintOperator]int{
	core.ConstraintEqual: 1, core.ConstraintNotEqual: 1, core.ConstraintIn: maxPlaceValues, core.ConstraintNotIn: maxPlaceValues,
	core.ConstraintExists: 0, core.ConstraintNotExists: 0,
}

// placement reads the constraint and spread blocks.
func (s *serviceDecoder) placement() {
	for i, block := range s.content.Blocks.OfType("constraint") {
		f := s.read(block, constraintSchema, s.at("constraint", strconv.Itoa(i))...)
		c := core.Constraint{
			Attribute: f.text("attribute", ""),
			Operator:  core.ConstraintOperator(f.text("operator", string(core.ConstraintEqual))),
		}
		if f.given("value") {
			c.Values = []string{f.text("value", "")}
		}
		if f.given("values") {
			if f.given("value") {
				s.addError("Twice the same", "A constraint has one value, or a list of values, not both.", block.DefRange)
			}
			c.Values = append(c.Values, f.texts("values")...)
		}
		s.spec.Constraints = append(s.spec.Constraints, c)
	}
	for i, block := range s.content.Blocks.OfType("spread") {
		f := s.read(block, spreadSchema, s.at("spread", strconv.Itoa(i))...)
		s.spec.Spread = append(s.spec.Spread, core.Spread{Attribute: f.text("attribute", "")})
	}
}

// texts reads a list of strings.
func (f *fields) texts(name string) []string {
	v, rng, ok := f.value(name, cty.List(cty.String))
	if !ok {
		return nil
	}
	var out []string
	if err := gocty.FromCtyValue(v, &out); err != nil {
		f.addError("Not a list of strings", fmt.Sprintf("%q must be a list of strings without null.", name), rng)
	}
	return out
}

// labelAttribute is what a bare name stands for: "rack" is node.labels.rack.
const labelAttribute = "node.labels."

func normalAttribute(name string) string {
	if name == "" || strings.Contains(name, ".") {
		return name
	}
	return labelAttribute + name
}

// normalisePlacement sorts constraints, of which all hold, and leaves spread in its order, which counts.
func normalisePlacement(s *core.Spec) {
	constraints := make([]core.Constraint, len(s.Constraints))
	for i, c := range s.Constraints {
		c.Attribute = normalAttribute(c.Attribute)
		c.Operator = cmp.Or(c.Operator, core.ConstraintEqual)
		c.Values = slices.Compact(sorted(c.Values, strings.Compare))
		constraints[i] = c
	}
	s.Constraints = slices.CompactFunc(sorted(constraints, compareConstraints), func(a, b core.Constraint) bool { return compareConstraints(a, b) == 0 })
	spread := make([]core.Spread, len(s.Spread))
	for i := range s.Spread {
		spread[i] = core.Spread{Attribute: normalAttribute(s.Spread[i].Attribute)}
	}
	s.Spread = sorted(spread, nil)
}

func compareConstraints(a, b core.Constraint) int {
	return cmp.Or(cmp.Compare(a.Attribute, b.Attribute), cmp.Compare(a.Operator, b.Operator), slices.Compare(a.Values, b.Values))
}

func (s *serviceChecker) placement() {
	if n := len(s.spec.Constraints); n > maxConstraints {
		s.fault("Too many constraints", fmt.Sprintf("A service has at most %d constraints, not %d.", maxConstraints, n), "constraint")
		return
	}
	for i := range s.spec.Constraints {
		s.constraint(&s.spec.Constraints[i], func(name string) []string { return []string{"constraint", strconv.Itoa(i), name} })
	}
	if n := len(s.spec.Spread); n > maxSpread {
		s.fault("Too much to spread over", fmt.Sprintf("Instances are spread over at most %d attributes, not %d.", maxSpread, n), "spread")
		return
	}
	seen := map[string]bool{}
	for i, spread := range s.spec.Spread {
		s.placeAttribute(spread.Attribute, "spread", strconv.Itoa(i), "attribute")
		if seen[spread.Attribute] {
			s.fault("Declared twice", fmt.Sprintf("Instances are spread over %q already.", spread.Attribute), "spread", strconv.Itoa(i), "attribute")
		}
		seen[spread.Attribute] = true
	}
}

func (s *serviceChecker) constraint(c *core.Constraint, at func(name string) []string) {
	s.placeAttribute(c.Attribute, at("attribute")...)
	most, known := constraintValues[c.Operator]
	switch n := len(c.Values); {
	case !known:
		s.fault("Unknown operator", fmt.Sprintf("The operator of a constraint is one of %s; not %q.", operatorNames(), c.Operator), at("operator")...)
		return
	case most == 0 && n > 0:
		s.fault("Superfluous value", fmt.Sprintf("The operator %q takes no value.", c.Operator), at("value")...)
	case most == 1 && n != 1:
		s.fault("One value", fmt.Sprintf("The operator %q takes one value, not %d: for several use in or not_in.", c.Operator, n), at("value")...)
	case most > 1 && (n == 0 || n > most):
		s.fault("Wrong number of values", fmt.Sprintf("The operator %q takes 1 to %d values, not %d.", c.Operator, most, n), at("values")...)
	}
	for _, v := range c.Values {
		if len(v) > maxPlaceText {
			s.fault("Too long", fmt.Sprintf("A value has at most %d bytes.", maxPlaceText), at("value")...)
		}
	}
}

func operatorNames() string {
	return `"=", "!=", "in", "not_in", "exists" and "not_exists"`
}

// placeAttribute refuses what no node could ever have.
func (s *serviceChecker) placeAttribute(name string, at ...string) {
	label, isLabel := strings.CutPrefix(name, labelAttribute)
	switch {
	case len(name) > maxPlaceText:
		s.fault("Too long", fmt.Sprintf("An attribute's name has at most %d bytes.", maxPlaceText), at...)
	case isLabel && label != "", name == "node.name", name == "target.name", name == "driver.version":
	default:
		s.fault("Unknown attribute", fmt.Sprintf(
			"%q is no attribute of a node. There are node.labels.NAME, or NAME alone, node.name, target.name and driver.version.", name), at...)
	}
}

// placement lists what is said about places.
func (f *flattener) placement(s *core.Spec) {
	for i := range s.Constraints {
		c := &s.Constraints[i]
		path := "constraint" + step(c.Attribute)
		for _, other := range s.Constraints[:i] {
			if other.Attribute == c.Attribute { // several of one attribute: the operator tells them apart
				path = fmt.Sprintf("constraint[%d]%s", i, step(c.Attribute))
			}
		}
		words := []string{string(c.Operator)}
		for _, v := range c.Values {
			words = append(words, quote(v))
		}
		f.add(path, strings.Join(words, " "))
	}
	names := make([]string, len(s.Spread))
	for i := range s.Spread {
		names[i] = s.Spread[i].Attribute
	}
	f.word("spread", strings.Join(names, " "))
}
