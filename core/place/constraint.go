package place

import (
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
)

const labelPrefix = "node.labels."

// attribute is a target's value of an attribute; ok is false if it has none.
func (t *Target) attribute(name string) (value string, ok bool) {
	switch name {
	case "node.name":
		return t.Node, true
	case "target.name":
		return t.Name, true
	case "driver.version":
		return t.Version, t.Version != ""
	}
	if label, is := strings.CutPrefix(name, labelPrefix); is {
		value, ok = t.Labels[label]
	}
	return value, ok
}

// fault says how a target does not meet a constraint, for one and for several targets: "lacks rack=a",
// "lack rack=a"; empty: it meets it.
func fault(c *core.Constraint, t *Target) (one, several string) {
	value, has := t.attribute(c.Attribute)
	name, listed := strings.TrimPrefix(c.Attribute, labelPrefix), has && slices.Contains(c.Values, value)
	values := strings.Join(c.Values, " or ")
	switch c.Operator {
	case core.ConstraintEqual, core.ConstraintIn:
		if !listed {
			return "lacks " + name + "=" + values, "lack " + name + "=" + values
		}
	case core.ConstraintNotEqual, core.ConstraintNotIn:
		if listed {
			return "has " + name + "=" + value, "have " + name + "=" + value
		}
	case core.ConstraintExists:
		if !has {
			return "lacks " + name, "lack " + name
		}
	case core.ConstraintNotExists:
		if has {
			return "has " + name, "have " + name
		}
	}
	return "", ""
}

// excluded says why a target gets nothing of the request whatever room it has; empty: it may.
func (r *Request) excluded(t *Target) (one, several string) {
	for i := range r.Constraints {
		if one, several = fault(&r.Constraints[i], t); one != "" {
			return one, several
		}
	}
	if t.Closed != "" {
		return "is " + t.Closed, "are " + t.Closed
	}
	return "", ""
}
