package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

// refusal is a configuration that a schema does not allow, and the attribute that is to blame.
type refusal struct {
	attribute string
	config    json.RawMessage
	why       string
}

// refusals derives from a schema what a driver with that schema has to refuse, each by one change of a sound
// configuration.
func refusals(t T, schema sdk.Schema, sound json.RawMessage) []refusal {
	t.Helper()
	list := []refusal{{"no_such_attribute", withAttribute(t, sound, "no_such_attribute", `1`), "an unknown attribute"}}
	for _, a := range schema {
		if wrong := wrongValue(a.Type); wrong != "" {
			list = append(list, refusal{a.Name, withAttribute(t, sound, a.Name, wrong), "a value of another type"})
		}
		if a.Required {
			list = append(list, refusal{a.Name, withAttribute(t, sound, a.Name, ""), "a required attribute that is missing"})
		}
	}
	return list
}

// wrongValue is JSON that cannot be taken for a value of the type; empty: everything can.
func wrongValue(t cty.Type) string {
	switch {
	case t.Equals(cty.DynamicPseudoType):
		return ""
	case t.IsMapType(), t.IsObjectType():
		return `["of another type"]`
	default:
		return `{"of": "another type"}`
	}
}

// checkRefusals wants every refusal to be one, at its attribute.
func checkRefusals(t T, list []refusal, try func(json.RawMessage) error) {
	t.Helper()
	for _, r := range list {
		err := try(r.config)
		var e *sdk.Error
		if !errors.As(err, &e) || e.Code != sdk.CodeInvalidConfig {
			t.Errorf("%s, %q: got %v (code %q), want code %q", r.why, r.attribute, err, sdk.CodeOf(err), sdk.CodeInvalidConfig)
			continue
		}
		rest, ok := strings.CutPrefix(e.Attribute, r.attribute)
		if !ok || (rest != "" && rest[0] != '.' && rest[0] != '[') {
			t.Errorf("%s: the error %q is about attribute %q, want %q", r.why, err, e.Attribute, r.attribute)
		}
	}
}

// checkSecrets gives the sensitive attributes of a schema values that are to be refused, and wants no error to
// repeat them.
func checkSecrets(t T, schema sdk.Schema, sound json.RawMessage, secret string, try func(json.RawMessage) error) (tried int) {
	t.Helper()
	for _, a := range schema {
		if !a.Sensitive {
			continue
		}
		tried++
		for _, value := range secretValues(a.Type, secret) {
			config := withAttribute(t, sound, a.Name, value)
			wantNoSecret(t, "an error about attribute "+a.Name, errorText(try(config)), secret)
			config = withAttribute(t, config, "no_such_attribute", `1`)
			wantNoSecret(t, "an error beside attribute "+a.Name, errorText(try(config)), secret)
		}
	}
	return tried
}

// secretValues are JSON values that hold a secret: one of the type if it is a simple one, one of another.
func secretValues(t cty.Type, secret string) []string {
	quoted := `"` + secret + `"`
	values := []string{`{` + quoted + `: ` + quoted + `}`, `[` + quoted + `]`}
	if t.IsPrimitiveType() {
		values = append(values, quoted)
	}
	return values
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func wantNoSecret(t T, where, text, secret string) {
	t.Helper()
	if strings.Contains(text, secret) {
		t.Errorf("%s has the secret in the clear", where)
	}
}

// checkSchemas is about what Describe says of both schemas, before anything is made with them.
func checkSchemas(t T, d sdk.Description) {
	t.Helper()
	for what, schema := range map[string]sdk.Schema{"target": d.Target, "workload": d.Workload} {
		if err := schema.Validate(); err != nil {
			t.Errorf("%s schema: %v", what, err)
		}
		for _, a := range schema {
			if a.Sensitive && a.Default != cty.NilVal && !a.Default.IsNull() {
				t.Errorf("%s schema: attribute %q is sensitive and has a default that everybody can read", what, a.Name)
			}
		}
	}
}

// describe gets the description; it never fails on a sound driver.
func describe(ctx context.Context, t T, d sdk.Driver) sdk.Description {
	t.Helper()
	desc, err := d.Describe(ctx)
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	return desc
}
