package sdk

import (
	"fmt"
	"regexp"

	"github.com/zclconf/go-cty/cty"
)

var attributeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Validate reports the first thing that is wrong with the schema itself: an attribute without a proper
// name, type or documentation, a default of another type, a name that occurs twice.
func (s Schema) Validate() error {
	seen := make(map[string]bool, len(s))
	for _, a := range s {
		if !attributeName.MatchString(a.Name) {
			return fmt.Errorf("attribute %q: a name has a-z, 0-9 and _, begins with a letter and has at most 63 characters", a.Name)
		}
		if seen[a.Name] {
			return fmt.Errorf("attribute %q is in the schema twice", a.Name)
		}
		seen[a.Name] = true
		if err := a.validate(); err != nil {
			return fmt.Errorf("attribute %q: %w", a.Name, err)
		}
	}
	return nil
}

func (a Attribute) validate() error {
	if a.Type == cty.NilType {
		return fmt.Errorf("it has no type")
	}
	if err := checkType(a.Type); err != nil {
		return err
	}
	if a.Doc == "" {
		return fmt.Errorf("it has no documentation")
	}
	if a.Default == cty.NilVal {
		return nil
	}
	if a.Required {
		return fmt.Errorf("it is required and has a default: only one can be")
	}
	if !a.Default.IsWhollyKnown() {
		return fmt.Errorf("its default is not known")
	}
	if problems := a.Default.Type().TestConformance(a.Type.WithoutOptionalAttributesDeep()); len(problems) > 0 {
		return fmt.Errorf("its default is of another type: %w", problems[0])
	}
	return nil
}

// checkType refuses what does not survive JSON: capsules, at any depth.
func checkType(t cty.Type) error {
	switch {
	case t.IsCapsuleType():
		return fmt.Errorf("capsule types such as %s do not survive the wire", t.FriendlyName())
	case t.IsCollectionType():
		return checkType(t.ElementType())
	case t.IsTupleType():
		for _, e := range t.TupleElementTypes() {
			if err := checkType(e); err != nil {
				return err
			}
		}
	case t.IsObjectType():
		for name, e := range t.AttributeTypes() {
			if err := checkType(e); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// Attribute returns the attribute with the given name.
func (s Schema) Attribute(name string) (Attribute, bool) {
	for _, a := range s {
		if a.Name == name {
			return a, true
		}
	}
	return Attribute{}, false
}
