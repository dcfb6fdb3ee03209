package spec

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/core"
)

// evaluator gives the value of an expression, reporting what is wrong with it. A value that is not
// known stands for one that could not be had; its cause has been reported.
type evaluator func(hcl.Expression) (cty.Value, hcl.Diagnostics)

// DecodeBody decodes the body of a driver's block by the driver's schema and gives it as canonical JSON,
// with defaults filled in and attributes that are null left out. Attributes that the schema does not
// have are refused, with a suggestion. The JSON is nil if there are errors.
func DecodeBody(body hcl.Body, schema []core.Attribute, ctx *hcl.EvalContext) (json.RawMessage, hcl.Diagnostics) {
	return decodeBody(body, schema, func(expr hcl.Expression) (cty.Value, hcl.Diagnostics) { return expr.Value(ctx) })
}

func decodeBody(body hcl.Body, schema []core.Attribute, eval evaluator) (json.RawMessage, hcl.Diagnostics) {
	bodySchema := &hcl.BodySchema{}
	for _, a := range schema {
		bodySchema.Attributes = append(bodySchema.Attributes, hcl.AttributeSchema{Name: a.Name})
	}
	content, diags := body.Content(bodySchema)
	out := make(map[string]any, len(schema))
	for _, a := range schema {
		value, moreDiags := decodeAttribute(content, a, body.MissingItemRange(), eval)
		diags = append(diags, moreDiags...)
		if value != nil {
			out[a.Name] = value
		}
	}
	if diags.HasErrors() {
		return nil, diags
	}
	return encodeBody(out, body, diags)
}

// decodeAnyBody decodes a body without a schema: whatever attributes it has, as they are.
func decodeAnyBody(body hcl.Body, eval evaluator) (json.RawMessage, hcl.Diagnostics) {
	attributes, diags := body.JustAttributes()
	out := make(map[string]any, len(attributes))
	for _, name := range keysOf(attributes) {
		value, moreDiags := evalPlain(attributes[name].Expr, cty.DynamicPseudoType, name, eval)
		diags = append(diags, moreDiags...)
		if value != nil {
			out[name] = value
		}
	}
	if diags.HasErrors() {
		return nil, diags
	}
	return encodeBody(out, body, diags)
}

func encodeBody(out map[string]any, body hcl.Body, diags hcl.Diagnostics) (json.RawMessage, hcl.Diagnostics) {
	encoded, err := encodeJSON(out)
	if err != nil {
		return nil, diags.Append(&hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Not representable", Detail: sentence(err.Error()),
			Subject: body.MissingItemRange().Ptr(),
		})
	}
	return encoded, diags
}

func decodeAttribute(content *hcl.BodyContent, a core.Attribute, missing hcl.Range, eval evaluator) (any, hcl.Diagnostics) {
	t, err := typeOf(a)
	if err != nil {
		return nil, brokenSchema(err, missing)
	}
	attr, given := content.Attributes[a.Name]
	if given {
		value, diags := evalPlain(attr.Expr, t, a.Name, eval)
		if value != nil || diags.HasErrors() {
			return value, diags
		}
		missing = attr.Expr.Range() // it is null, which means not given
	}
	if a.Required {
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Missing required argument",
			Detail:  fmt.Sprintf("The argument %q is required: %s", a.Name, a.Doc),
			Subject: missing.Ptr(),
		}}
	}
	value, err := defaultOf(a, t)
	if err != nil {
		return nil, brokenSchema(err, missing)
	}
	return value, nil
}

// evalPlain evaluates an expression and converts its value. Null, and what could not be had, is nil.
func evalPlain(expr hcl.Expression, t cty.Type, name string, eval evaluator) (any, hcl.Diagnostics) {
	v, diags := eval(expr)
	if diags.HasErrors() {
		return nil, diags
	}
	v, _ = v.UnmarkDeep()
	if !v.IsWhollyKnown() || v.IsNull() {
		return nil, diags
	}
	v, err := toType(v, t)
	var plain any
	if err == nil {
		plain, err = plainValue(v)
	}
	if err != nil {
		return nil, diags.Append(wrongType(name, t, err, expr))
	}
	return plain, diags
}

func wrongType(name string, t cty.Type, err error, expr hcl.Expression) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Wrong type of value",
		Detail:  fmt.Sprintf("%q must be %s: %s", name, typeText(t), stop(err.Error())),
		Subject: expr.Range().Ptr(), Context: nil,
	}
}

func brokenSchema(err error, rng hcl.Range) hcl.Diagnostics {
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Broken driver",
		Detail:  sentence(err.Error()) + " This is a fault of the driver: `instar driver verify` shows it to its author.",
		Subject: rng.Ptr(),
	}}
}
