package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variable is a declared variable.
type variable struct {
	name        string
	description string
	typ         cty.Type
	defaults    *typeexpr.Defaults // of optional attributes within typ
	fallback    cty.Value          // cty.NilVal: a value must be given
	sensitive   bool
	validations hcl.Blocks
	rng         hcl.Range
}

// sensitiveMark marks the values of sensitive variables while expressions are evaluated, so that
// diagnostics never show them.
const sensitiveMark = sensitiveValue("sensitive")

type sensitiveValue string

var variableSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "type"}, {Name: "default"}, {Name: "description"}, {Name: "sensitive"}},
	Blocks:     []hcl.BlockHeaderSchema{{Type: "validation"}},
}

var validationSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "condition", Required: true}, {Name: "error_message", Required: true}},
}

// declareVariable reads a variable block. Nothing in it may refer to anything, but for validations.
func declareVariable(block *hcl.Block) (*variable, hcl.Diagnostics) {
	content, diags := block.Body.Content(variableSchema)
	v := &variable{name: block.Labels[0], typ: cty.DynamicPseudoType, rng: block.DefRange}
	if !hclIdentifier(v.name) {
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Invalid name",
			Detail:  fmt.Sprintf("%q cannot be written as var.NAME: a variable's name has letters, digits, _ and -, and begins with a letter.", v.name),
			Subject: block.LabelRanges[0].Ptr(),
		})
	}
	v.validations = content.Blocks
	constant := func(name string, t cty.Type) (cty.Value, hcl.Range) {
		attr, ok := content.Attributes[name]
		if !ok {
			return cty.NilVal, hcl.Range{}
		}
		value, moreDiags := constantValue(attr, t)
		diags = append(diags, moreDiags...)
		return value, attr.Expr.Range()
	}
	if attr, ok := content.Attributes["type"]; ok {
		typ, defaults, moreDiags := typeexpr.TypeConstraintWithDefaults(attr.Expr)
		diags = append(diags, moreDiags...)
		if !moreDiags.HasErrors() {
			v.typ, v.defaults = typ, defaults
		}
	}
	if d, _ := constant("description", cty.String); d != cty.NilVal && !d.IsNull() {
		v.description = d.AsString()
	}
	if d, _ := constant("sensitive", cty.Bool); d != cty.NilVal && !d.IsNull() {
		v.sensitive = d.True()
	}
	if d, rng := constant("default", cty.DynamicPseudoType); d != cty.NilVal {
		value, err := v.convert(d)
		if err != nil {
			diags = append(diags, v.wrongType(err, rng.Ptr(), "Its default"))
			value = cty.DynamicVal
		}
		v.fallback = value
	}
	return v, diags
}

// constantValue evaluates an attribute that may refer to nothing. What is wrong gives NilVal.
func constantValue(attr *hcl.Attribute, t cty.Type) (cty.Value, hcl.Diagnostics) {
	m := newMeter(maxWork)
	m.instrument(attr.Expr)
	v, diags := attr.Expr.Value(&hcl.EvalContext{})
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	if err := m.charge(v); err != nil {
		return cty.NilVal, append(diags, chargeProblem(err, attr.Expr.Range()))
	}
	if !v.IsWhollyKnown() {
		return cty.NilVal, diags // of a place with a syntax error
	}
	out, err := convert.Convert(v, t)
	if err != nil {
		return cty.NilVal, append(diags, wrongType(attr.Name, t, conversionError(err), attr.Expr))
	}
	return out, diags
}

// convert makes a given value one of the variable's type.
func (v *variable) convert(given cty.Value) (cty.Value, error) {
	if v.defaults != nil && !given.IsNull() {
		given = v.defaults.Apply(given)
	}
	out, err := convert.Convert(given, v.typ)
	if err != nil {
		return cty.NilVal, conversionError(err)
	}
	return out, nil
}

func (v *variable) wrongType(err error, rng *hcl.Range, what string) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Wrong type of value",
		Detail:  fmt.Sprintf("The variable %q must be %s. %s does not fit: %s", v.name, typeText(v.typ), what, stop(err.Error())),
		Subject: rng,
	}
}

// validate evaluates the variable's validation blocks.
func (v *variable) validate(s *scope) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, block := range v.validations {
		diags = append(diags, v.validateBy(s, block)...)
	}
	return diags
}

func (v *variable) validateBy(s *scope, block *hcl.Block) hcl.Diagnostics {
	content, diags := block.Body.Content(validationSchema)
	if diags.HasErrors() {
		return diags
	}
	condition := content.Attributes["condition"].Expr
	holds, diags := s.eval(condition, nil)
	message, moreDiags := s.eval(content.Attributes["error_message"].Expr, nil)
	if diags = append(diags, moreDiags...); diags.HasErrors() || !holds.IsKnown() {
		return diags
	}
	holds, _ = holds.UnmarkDeep()
	answer, err := convert.Convert(holds, cty.Bool)
	if err != nil || answer.IsNull() {
		return append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Wrong type of value",
			Detail: "A condition must be true or false.", Subject: condition.Range().Ptr(),
		})
	}
	if answer.False() {
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: fmt.Sprintf("Invalid value for variable %q", v.name),
			Detail: sentence(toText(message)), Subject: condition.Range().Ptr(),
		})
	}
	return diags
}
