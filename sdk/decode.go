package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Decode checks a configuration against its schema and decodes it into a struct by its json tags. Absent
// and null attributes take the schema's default; without one the struct's field stays as it is. Unknown
// and missing attributes and values of a wrong type are InvalidConfig at the attribute's path. As in HCL,
// a number or bool is taken for a string, and a string that holds a number or bool for one.
//
// An empty config counts as {}. into is a pointer to a struct; a field may decode itself by
// json.Unmarshaler or encoding.TextUnmarshaler, and its error then names the attribute.
func Decode(schema Schema, config json.RawMessage, into any) error {
	given, err := object(config)
	if err != nil {
		return err
	}
	for name := range given {
		if _, ok := schema.Attribute(name); !ok {
			return InvalidConfig(name, "there is no such attribute; %s", known(schema))
		}
	}
	for _, a := range schema {
		value, err := attributeValue(a, given[a.Name])
		if err != nil {
			return err
		}
		if value.IsNull() {
			continue
		}
		if err := store(a, value, into); err != nil {
			return err
		}
	}
	return nil
}

// object splits a JSON object into its members, and refuses anything else and anything after it.
func object(config json.RawMessage) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(config)) == 0 {
		return nil, nil
	}
	var members map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(config))
	if err := d.Decode(&members); err != nil {
		return nil, InvalidConfig("", "the configuration is no JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, InvalidConfig("", "the configuration goes on after its JSON object")
	}
	return members, nil
}

// attributeValue is the value of one attribute: what is given, else the default, else null.
func attributeValue(a Attribute, given json.RawMessage) (cty.Value, error) {
	absent := len(given) == 0 || string(given) == "null"
	switch {
	case absent && a.Required:
		return cty.NilVal, InvalidConfig(a.Name, "it is required: %s", a.Doc)
	case absent && a.Default != cty.NilVal:
		return a.Default, nil
	case absent:
		return cty.NullVal(a.Type), nil
	}
	value, err := ctyjson.Unmarshal(given, a.Type)
	if err == nil {
		return value, nil
	}
	var at cty.PathError
	path := a.Name
	if errors.As(err, &at) {
		path += pathText(at.Path)
	}
	return cty.NilVal, InvalidConfig(path, "it must be %s: %w", a.Type.FriendlyName(), err)
}

// store puts one attribute into the struct. One at a time, so that an error names its attribute.
func store(a Attribute, value cty.Value, into any) error {
	data, err := ctyjson.Marshal(value, value.Type())
	if err != nil {
		return InvalidConfig(a.Name, "%w", err)
	}
	data, err = json.Marshal(map[string]json.RawMessage{a.Name: data})
	if err != nil {
		return fmt.Errorf("attribute %q: %w", a.Name, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return InvalidConfig(a.Name, "%w", err)
	}
	return nil
}

// pathText prints a path below an attribute as HCL would write it: [0], ["key"], .name.
func pathText(path cty.Path) string {
	var b strings.Builder
	for _, step := range path {
		switch s := step.(type) {
		case cty.GetAttrStep:
			b.WriteString("." + s.Name)
		case cty.IndexStep:
			if s.Key.Type() == cty.String {
				b.WriteString("[" + strconv.Quote(s.Key.AsString()) + "]")
				continue
			}
			b.WriteString("[" + s.Key.AsBigFloat().String() + "]")
		}
	}
	return b.String()
}

func known(schema Schema) string {
	if len(schema) == 0 {
		return "this configuration has none"
	}
	names := make([]string, len(schema))
	for i, a := range schema {
		names[i] = a.Name
	}
	slices.Sort(names)
	return "known are " + strings.Join(names, ", ")
}
