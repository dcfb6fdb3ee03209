package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/instarhq/instar/core"
)

// Schemas finds the published description of a driver.
type Schemas interface {
	Driver(kind core.DriverKind, name string) (core.Driver, bool)
}

// Lister is what Schemas may implement too, so that a diagnostic can name the drivers that there are.
type Lister interface {
	Drivers(kind core.DriverKind) []string
}

func unknownDriver(schemas Schemas, kind core.DriverKind, name string) string {
	text := fmt.Sprintf("No node has published a %s driver named %q.", kind, name)
	if l, ok := schemas.(Lister); ok {
		known := l.Drivers(kind)
		text += suggest(name, known)
		text += fmt.Sprintf(" Drivers of this kind: %s.", names(known))
	}
	return text
}

// typeOf reads an attribute's type; an error is a fault of the driver, not of the operator.
func typeOf(a core.Attribute) (cty.Type, error) {
	if len(a.Type) == 0 || jsonDepth(a.Type) > maxDepth {
		return cty.NilType, fmt.Errorf("the driver's schema has no usable type for %q", a.Name)
	}
	t, err := ctyjson.UnmarshalType(a.Type)
	if err != nil {
		return cty.NilType, fmt.Errorf("the driver's schema has no usable type for %q: %w", a.Name, err)
	}
	return t, nil
}

// defaultOf reads an attribute's default as a plain value, nil if there is none.
func defaultOf(a core.Attribute, t cty.Type) (any, error) {
	if len(a.Default) == 0 || string(a.Default) == "null" {
		return nil, nil
	}
	plain, err := parseJSON(a.Default)
	if err == nil {
		plain, err = conform(plain, t)
	}
	if err != nil {
		return nil, fmt.Errorf("the driver's schema has no usable default for %q: %w", a.Name, err)
	}
	return plain, nil
}

// conform converts a plain JSON value to a type, and refuses attributes that the type does not have.
func conform(plain any, t cty.Type) (any, error) {
	v, err := valueOf(plain)
	if err != nil {
		return nil, err
	}
	if v, err = toType(v, t); err != nil {
		return nil, err
	}
	return plainValue(v)
}

// toType converts a value to a type. The error names the place within the value, in words for a
// person. The value is unmarked and known.
func toType(v cty.Value, t cty.Type) (cty.Value, error) {
	if err := extraAttributes(v, t, nil); err != nil {
		return cty.NilVal, err
	}
	out, err := convert.Convert(v, t)
	if err != nil {
		return cty.NilVal, conversionError(err)
	}
	return out, nil
}

func conversionError(err error) error {
	var perr cty.PathError
	if errors.As(err, &perr) && len(perr.Path) > 0 {
		return fmt.Errorf("at %s: %w", pathText(perr.Path), err)
	}
	return err
}

// pathText writes a path within a value as HCL has it, without a leading dot.
func pathText(path cty.Path) string {
	var b strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case cty.GetAttrStep:
			b.WriteString("." + step.Name)
		case cty.IndexStep:
			if step.Key.Type() == cty.Number {
				fmt.Fprintf(&b, "[%s]", step.Key.AsBigFloat().Text('f', -1))
			} else if step.Key.Type() == cty.String {
				fmt.Fprintf(&b, "[%q]", step.Key.AsString())
			}
		}
	}
	return strings.TrimPrefix(b.String(), ".")
}

// extraAttributes finds attributes that an object type does not have: the conversion drops them
// without a word, and with them what the operator meant.
func extraAttributes(v cty.Value, t cty.Type, path cty.Path) error {
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	iterable := v.CanIterateElements()
	switch {
	case t.IsObjectType() && iterable && (v.Type().IsObjectType() || v.Type().IsMapType()):
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			name := key.AsString()
			if !t.HasAttribute(name) {
				return extraError(name, t, path)
			}
			if err := extraAttributes(element, t.AttributeType(name), append(slices.Clone(path), cty.GetAttrStep{Name: name})); err != nil {
				return err
			}
		}
	case t.IsCollectionType() && iterable:
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			if err := extraAttributes(element, t.ElementType(), append(slices.Clone(path), cty.IndexStep{Key: key})); err != nil {
				return err
			}
		}
	}
	return nil
}

func extraError(name string, t cty.Type, path cty.Path) error {
	at := ""
	if len(path) > 0 {
		at = "at " + pathText(path) + ": "
	}
	return fmt.Errorf("%sthere is no attribute %q here.%s", at, name, suggest(name, keysOf(t.AttributeTypes())))
}

// conformObject checks a driver's configuration, as it comes over the API, against a schema and returns
// it in canonical form with the defaults filled in. Each fault is reported with its attribute.
func conformObject(raw json.RawMessage, schema []core.Attribute, fault func(attribute, text string)) json.RawMessage {
	plain, err := parseJSON(raw)
	object, ok := plain.(map[string]any)
	if err != nil || !ok {
		fault("", "The configuration is not a JSON object.")
		return nil
	}
	out := make(map[string]any, len(schema))
	known := make([]string, 0, len(schema))
	for _, a := range schema {
		known = append(known, a.Name)
		value, err := attributeValue(object[a.Name], a)
		switch {
		case err != nil:
			fault(a.Name, sentence(err.Error()))
		case value != nil:
			out[a.Name] = value
		}
	}
	for _, name := range keysOf(object) {
		if !slices.Contains(known, name) {
			fault(name, fmt.Sprintf("The driver has no attribute %q.%s", name, suggest(name, known)))
		}
	}
	canonical, err := encodeJSON(out)
	if err != nil {
		fault("", sentence(err.Error()))
	}
	return canonical
}

// attributeValue converts what was given for an attribute, or nil for nothing, to its type, or gives
// its default.
func attributeValue(given any, a core.Attribute) (any, error) {
	t, err := typeOf(a)
	if err != nil {
		return nil, err
	}
	if given != nil {
		value, err := conform(given, t)
		if err != nil {
			return nil, fmt.Errorf("%q must be %s: %w", a.Name, typeText(t), err)
		}
		return value, nil
	}
	if a.Required {
		return nil, fmt.Errorf("the driver requires %q: %s", a.Name, a.Doc)
	}
	return defaultOf(a, t)
}

// typeText names a type as a person would: "a list of strings".
func typeText(t cty.Type) string {
	switch {
	case t == cty.DynamicPseudoType:
		return "any value"
	case t.IsListType():
		return "a list of " + plural(t.ElementType())
	case t.IsSetType():
		return "a set of " + plural(t.ElementType())
	case t.IsMapType():
		return "a map of " + plural(t.ElementType())
	case t.IsObjectType():
		return "an object"
	}
	return "a " + t.FriendlyName()
}

func plural(t cty.Type) string {
	if t.IsPrimitiveType() {
		return t.FriendlyName() + "s"
	}
	return "values that are each " + typeText(t)
}
