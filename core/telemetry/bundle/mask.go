package bundle

import (
	"encoding/json"
	"maps"

	"github.com/instarhq/instar/core"
)

// Schema gives the attributes of a driver's configuration; false: it is not known.
type Schema func(kind core.DriverKind, driver string) ([]core.Attribute, bool)

// Values masks a JSON object by its schema: the attributes that are sensitive, and every one that the schema
// does not have. Without a schema all of them.
func Values(config json.RawMessage, schema []core.Attribute) json.RawMessage {
	masked, _ := split(config, schema)
	return masked
}

// Secrets are the texts of an object that Values masks.
func Secrets(config json.RawMessage, schema []core.Attribute) []string {
	_, secrets := split(config, schema)
	return secrets
}

func split(config json.RawMessage, schema []core.Attribute) (masked json.RawMessage, secrets []string) {
	if len(config) == 0 {
		return nil, nil
	}
	quoted, _ := json.Marshal(Masked) // a string always is
	var object map[string]json.RawMessage
	if json.Unmarshal(config, &object) != nil {
		return quoted, []string{string(config)}
	}
	open := map[string]bool{}
	for i := range schema {
		before, seen := open[schema[i].Name] // of another schema of the same driver
		open[schema[i].Name] = !schema[i].Sensitive && (before || !seen)
	}
	for name, value := range object {
		if open[name] {
			continue
		}
		var v any
		if json.Unmarshal(value, &v) == nil {
			secrets = append(secrets, texts(v)...)
		}
		object[name] = quoted
	}
	masked, err := json.Marshal(object)
	if err != nil {
		return quoted, secrets
	}
	return masked, secrets
}

// texts are the strings in a decoded JSON value.
func texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, e := range v {
			out = append(out, texts(e)...)
		}
	case map[string]any:
		for _, e := range v {
			out = append(out, texts(e)...)
		}
	}
	return out
}

// Spec masks a service's declaration: the values of its environment, and what is sensitive to its drivers.
func Spec(s core.Spec, schema Schema) core.Spec {
	attributes, _ := schema(core.DriverCompute, s.Compute.Driver)
	s.Compute.Config = Values(s.Compute.Config, attributes)
	if s.Env != nil {
		s.Env = maps.Clone(s.Env)
		for name := range s.Env {
			s.Env[name] = Masked
		}
	}
	routes := make([]core.RouteSpec, len(s.Routes))
	for i, r := range s.Routes {
		attributes, _ := schema(core.DriverTraffic, r.Driver)
		r.Config = Values(r.Config, attributes)
		routes[i] = r
	}
	s.Routes = routes
	return s
}

// SpecSecrets are the texts that Spec masks.
func SpecSecrets(s *core.Spec, schema Schema) (secrets []string) {
	for _, value := range s.Env {
		secrets = append(secrets, value)
	}
	attributes, _ := schema(core.DriverCompute, s.Compute.Driver)
	secrets = append(secrets, Secrets(s.Compute.Config, attributes)...)
	for i := range s.Routes {
		attributes, _ := schema(core.DriverTraffic, s.Routes[i].Driver)
		secrets = append(secrets, Secrets(s.Routes[i].Config, attributes)...)
	}
	return secrets
}
