package spec

import (
	"fmt"
	"math/big"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/instarhq/instar/core"
)

// fields reads the attributes of one block, remembers where they stand, and reports what is wrong
// with them. A value that is null counts as not given.
type fields struct {
	*evaluation
	path    []string // of the block
	content *hcl.BodyContent
	body    hcl.Range
	holders *placeholders
}

// read decodes a block's content by a schema and remembers its place.
func (e *evaluation) read(block *hcl.Block, schema *hcl.BodySchema, path ...string) *fields {
	e.places.put(block.DefRange, path...)
	content, diags := block.Body.Content(schema)
	e.add(diags)
	return &fields{evaluation: e, path: path, content: content, body: block.DefRange}
}

// eval evaluates an expression and warns of a sensitive value: all that a set holds is public.
func (e *evaluation) eval(expr hcl.Expression, holders *placeholders) (cty.Value, hcl.Diagnostics) {
	v, diags := e.scope.eval(expr, holders)
	if v.ContainsMarked() {
		e.addWarning("Sensitive value in the clear",
			"This value comes from a sensitive variable. Revisions and their history keep it in the clear, for everybody who may read them.",
			expr.Range())
		v, _ = v.UnmarkDeep()
	}
	return v, diags
}

func (f *fields) value(name string, t cty.Type) (cty.Value, hcl.Range, bool) {
	attr, ok := f.content.Attributes[name]
	if !ok {
		return cty.NilVal, f.body, false
	}
	rng := attr.Expr.Range()
	f.places.put(rng, below(f.path, name)...)
	v, diags := f.eval(attr.Expr, f.holders)
	f.add(diags)
	if diags.HasErrors() || !v.IsWhollyKnown() || v.IsNull() {
		return cty.NilVal, rng, false
	}
	v, err := toType(v, t)
	if err != nil {
		f.add(hcl.Diagnostics{wrongType(name, t, err, attr.Expr)})
		return cty.NilVal, rng, false
	}
	return v, rng, true
}

// text reads a string.
func (f *fields) text(name, fallback string) string {
	v, _, ok := f.value(name, cty.String)
	if !ok {
		return fallback
	}
	return v.AsString()
}

// integer reads a whole number.
func (f *fields) integer(name string, fallback int64) int64 {
	v, rng, ok := f.value(name, cty.Number)
	if !ok {
		return fallback
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != big.Exact {
		f.addError("Not a whole number", fmt.Sprintf("%q must be a whole number.", name), rng)
		return fallback
	}
	return n
}

// share reads a number, for which every fraction is good.
func (f *fields) share(name string) float64 {
	v, _, ok := f.value(name, cty.Number)
	if !ok {
		return 0
	}
	n, _ := v.AsBigFloat().Float64()
	return n
}

// integers reads a list of whole numbers.
func (f *fields) integers(name string) []int {
	v, rng, ok := f.value(name, cty.List(cty.Number))
	if !ok {
		return nil
	}
	var out []int
	if err := gocty.FromCtyValue(v, &out); err != nil {
		f.addError("Not a whole number", fmt.Sprintf("%q must be a list of whole numbers.", name), rng)
	}
	return out
}

// duration reads a duration. Zero is refused unless zero is a value of its own, as it would otherwise
// mean "the default" to whoever reads it later.
func (f *fields) duration(name string, fallback time.Duration, zero bool) core.Duration {
	v, rng, ok := f.value(name, cty.String)
	if !ok {
		return core.Duration(fallback)
	}
	var d core.Duration
	err := d.UnmarshalText([]byte(v.AsString()))
	switch {
	case err != nil:
		f.addError("Invalid duration", sentence(err.Error()), rng)
	case d < 0 || d == 0 && !zero:
		f.addError("Invalid duration", fmt.Sprintf("%q must be more than 0. Without it the default of %s holds.", name, fallback), rng)
	default:
		return d
	}
	return core.Duration(fallback)
}

// given reports whether an attribute is there, whatever its value.
func (f *fields) given(name string) bool {
	_, ok := f.content.Attributes[name]
	return ok
}

// one returns the only block of a type, or nil, and reports further ones.
func (f *fields) one(typ string) *hcl.Block {
	var first *hcl.Block
	for _, block := range f.content.Blocks.OfType(typ) {
		if first != nil {
			f.addError("Declared twice", fmt.Sprintf("There can be one %s block here; the other is at %s.", typ, position(first.DefRange)), block.DefRange)
			continue
		}
		first = block
	}
	return first
}

// require reports an attribute or block that has to be there.
func (f *fields) require(what, advice string) {
	f.addError("Missing "+what, advice, f.body)
}

// each reads the labelled blocks of a type, reporting names that occur twice.
func (f *fields) each(typ string, do func(name string, block *hcl.Block)) {
	seen := map[string]hcl.Range{}
	for _, block := range f.content.Blocks.OfType(typ) {
		name := block.Labels[0]
		if first, twice := seen[name]; twice {
			f.duplicate(typ, name, block.DefRange, first)
			continue
		}
		seen[name] = block.DefRange
		do(name, block)
	}
}
