package spec

import (
	"errors"
	"math"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maxWork is the budget of one Evaluate: bytes of values that are copied or walked, and bytes of
// source that loops evaluate. The largest honest set stays far below; it takes a few seconds at most.
const maxWork = 64 << 20

// maxExponent bounds numbers, in binary digits. A number such as 1e999999999 takes a few bytes to
// hold, and a gigabyte to write out.
const maxExponent = 1 << 12

// numberWork is what a number counts for: writing one out takes as long as copying many bytes.
const numberWork = 64

var (
	errWork     = errors.New("these files take too much work to evaluate: they multiply values or loops within loops")
	errNumber   = errors.New("a number this large or this small is not supported")
	errInfinite = errors.New("the value is infinite: something is divided by zero")
)

// meter counts the work of an evaluation, and refuses to go on when it is too much.
type meter struct{ left int64 }

func newMeter(work int64) *meter { return &meter{left: work} }

// charge takes the size of v from the budget.
func (m *meter) charge(v cty.Value) error {
	size, err := m.size(v)
	if err != nil {
		return err
	}
	return m.spend(size)
}

// chargeLoop takes what a loop over v costs whose source has the given number of bytes.
func (m *meter) chargeLoop(v cty.Value, body int64) error {
	if err := m.charge(v); err != nil {
		return err
	}
	v, _ = v.Unmark()
	if body == 0 || v.IsNull() || !v.IsKnown() || !v.CanIterateElements() {
		return nil
	}
	return m.spend(body * int64(v.LengthInt()))
}

// exhausted reports whether nothing is left, so that all that follows would be refused too.
func (m *meter) exhausted() bool { return m.left == 0 }

// spend takes n from the budget.
func (m *meter) spend(n int64) error {
	if n > m.left {
		m.left = 0
		return errWork
	}
	m.left -= n
	return nil
}

// size is about the number of bytes that v takes as JSON. It stops at the budget: values share their
// parts, so a small one can be astronomically large when written out.
func (m *meter) size(v cty.Value) (int64, error) {
	var total int64
	err := m.walk(v, &total)
	return total, err
}

func (m *meter) walk(v cty.Value, total *int64) error {
	v, _ = v.Unmark()
	*total += 8
	if *total > m.left {
		m.left = 0
		return errWork
	}
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		*total += int64(len(v.AsString()))
	case t == cty.Number:
		*total += numberWork
		return checkNumber(v)
	case v.CanIterateElements():
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			if key.Type() == cty.String {
				*total += int64(len(key.AsString()))
			}
			if err := m.walk(element, total); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNumber(v cty.Value) error {
	f := v.AsBigFloat()
	if f.IsInf() {
		return errInfinite
	}
	if exp := f.MantExp(nil); math.Abs(float64(exp)) > maxExponent {
		return errNumber
	}
	return nil
}

// metered is an expression whose every value is charged. If a loop goes over the value, body is the
// length of its source.
type metered struct {
	hclsyntax.Expression
	meter *meter
	body  int64
}

// Value implements hcl.Expression.
func (e *metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	v, diags := e.Expression.Value(ctx)
	if diags.HasErrors() {
		return v, diags
	}
	if err := e.meter.chargeLoop(v, e.body); err != nil {
		return cty.DynamicVal, append(diags, chargeProblem(err, e.Range()))
	}
	return v, diags
}

func chargeProblem(err error, rng hcl.Range) *hcl.Diagnostic {
	summary := "Too much to evaluate"
	if errors.Is(err, errNumber) || errors.Is(err, errInfinite) {
		summary = "Number out of range"
	}
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: sentence(err.Error()), Subject: rng.Ptr()}
}

// instrument puts the meter wherever an expression can make much out of little: what loops go over, what
// is copied into text, what functions get, and what is converted. It changes the tree in place, so
// references must be collected before.
func (m *meter) instrument(expr hcl.Expression) {
	node, ok := expr.(hclsyntax.Node)
	if !ok {
		return
	}
	hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics { //nolint:errcheck // it makes none
		if wrapped, ok := n.(*metered); ok {
			n = wrapped.Expression // the walk goes on with its children, so this is its only visit
		}
		switch n := n.(type) {
		case *hclsyntax.ForExpr:
			m.wrap(&n.CollExpr, sourceBytes(n.SrcRange))
			if n.KeyExpr != nil {
				m.wrap(&n.KeyExpr, 0)
			}
		case *hclsyntax.SplatExpr:
			m.wrap(&n.Source, sourceBytes(n.SrcRange))
		case *hclsyntax.TemplateExpr:
			m.wrapAll(n.Parts)
		case *hclsyntax.TemplateJoinExpr:
			m.wrap(&n.Tuple, 0)
		case *hclsyntax.FunctionCallExpr:
			m.wrapAll(n.Args)
		case *hclsyntax.ConditionalExpr:
			m.wrap(&n.TrueResult, 0)
			m.wrap(&n.FalseResult, 0)
		case *hclsyntax.BinaryOpExpr:
			m.wrap(&n.LHS, 0)
			m.wrap(&n.RHS, 0)
		case *hclsyntax.IndexExpr:
			m.wrap(&n.Key, 0)
		case *hclsyntax.ObjectConsKeyExpr:
			if n.ForceNonLiteral || hcl.ExprAsKeyword(n.Wrapped) == "" {
				m.wrapKey(n)
			}
		}
		return nil
	})
}

func (m *meter) wrap(expr *hclsyntax.Expression, body int64) {
	if _, literal := (*expr).(*hclsyntax.LiteralValueExpr); literal && body == 0 && !numeric(*expr) {
		return // it is in the source once, and the template code asks for literals by their type
	}
	*expr = &metered{Expression: *expr, meter: m, body: body}
}

func (m *meter) wrapAll(exprs []hclsyntax.Expression) {
	for i := range exprs {
		m.wrap(&exprs[i], 0)
	}
}

// wrapKey leaves a traversal as it is: HCL tells by its type that a key is ambiguous.
func (m *meter) wrapKey(key *hclsyntax.ObjectConsKeyExpr) {
	if _, traversal := key.Wrapped.(*hclsyntax.ScopeTraversalExpr); !traversal || key.ForceNonLiteral {
		m.wrap(&key.Wrapped, 0)
	}
}

func numeric(expr hclsyntax.Expression) bool {
	lit, ok := expr.(*hclsyntax.LiteralValueExpr)
	return ok && lit.Val.Type() == cty.Number
}

func sourceBytes(rng hcl.Range) int64 { return int64(max(rng.End.Byte-rng.Start.Byte, 1)) }
