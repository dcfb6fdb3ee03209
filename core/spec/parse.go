package spec

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxDepth bounds how deep the syntax tree of one expression can become. The HCL parser and evaluator
// recurse, and a Go program whose stack is full ends without a chance to say anything; nobody writes
// an expression of this depth by hand.
const maxDepth = 1000

// Parse parses one file in native HCL syntax, refusing what no parser could take: too deep, too large numbers. The
// file is never nil.
func Parse(data []byte, filename string) (*hcl.File, hcl.Diagnostics) {
	if diags := screen(data, filename, hclsyntax.LexConfig); diags != nil {
		return &hcl.File{Body: hcl.EmptyBody(), Bytes: data}, diags
	}
	file, diags := hclsyntax.ParseConfig(data, filename, hcl.InitialPos)
	for _, d := range diags {
		if d.Summary == "Invalid single-argument block definition" { // the commonest slip in HCL
			d.Detail = "A block on one line has one argument at most. Put each argument on a line of its own."
		}
	}
	return file, diags
}

func parseExpression(data []byte, filename string) (hclsyntax.Expression, hcl.Diagnostics) {
	if diags := screen(data, filename, hclsyntax.LexExpression); diags != nil {
		return nil, diags
	}
	return hclsyntax.ParseExpression(data, filename, hcl.InitialPos)
}

func parseTemplate(data []byte, filename string) (hclsyntax.Expression, hcl.Diagnostics) {
	if diags := screen(data, filename, hclsyntax.LexTemplate); diags != nil {
		return nil, diags
	}
	return hclsyntax.ParseTemplate(data, filename, hcl.InitialPos)
}

func deepProblem(rng *hcl.Range) hcl.Diagnostics {
	return hcl.Diagnostics{{
		Severity: hcl.DiagError,
		Summary:  "Nested too deeply",
		Detail:   fmt.Sprintf("An expression may have at most %d operators and brackets one inside the other. Split it with locals.", maxDepth),
		Subject:  rng,
	}}
}

// lexer is one of hclsyntax's Lex functions.
type lexer func(data []byte, filename string, start hcl.Pos) (hclsyntax.Tokens, hcl.Diagnostics)

// screen looks at the tokens of a file before it is parsed. It returns nil if the parser can take them.
func screen(data []byte, filename string, lex lexer) hcl.Diagnostics {
	tokens, _ := lex(data, filename, hcl.InitialPos) // the parser reports its diagnostics
	g := gauge{open: []int{0}}
	for i, t := range tokens {
		if t.Type == hclsyntax.TokenNumberLit && !modest(string(t.Bytes)) {
			return hcl.Diagnostics{chargeProblem(errNumber, t.Range)}
		}
		if t.Type == hclsyntax.TokenTemplateControl {
			g.directive(keyword(tokens[i+1:]))
		}
		g.token(t.Type)
		if g.depth > maxDepth {
			return deepProblem(t.Range.Ptr())
		}
	}
	return nil
}

// keyword is the first word of a template directive.
func keyword(tokens hclsyntax.Tokens) string {
	for _, t := range tokens {
		if t.Type != hclsyntax.TokenNewline {
			return string(t.Bytes)
		}
	}
	return ""
}

// modest reports whether a number literal takes no more than a few kilobytes in plain decimal notation.
func modest(literal string) bool {
	const digits = 1000
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(literal), "e")
	if len(mantissa) > digits {
		return false
	}
	n, err := strconv.Atoi(exponent)
	return !scientific || err == nil && n >= -digits && n <= digits
}

// gauge follows how deep the syntax tree can become: each open bracket, and each operator since the
// last comma or assignment within it, may add one level.
type gauge struct {
	open  []int // levels so far, per open bracket
	depth int   // the sum of open, and its length
}

func (g *gauge) add(levels int) {
	g.open[len(g.open)-1] += levels
	g.depth += levels
}

func (g *gauge) push() {
	g.open = append(g.open, 0)
	g.depth++
}

// directive counts a directive that holds what follows it in the template, until its end.
func (g *gauge) directive(word string) {
	switch word {
	case "if", "for":
		g.add(1)
	case "endif", "endfor":
		if g.open[len(g.open)-1] > 0 {
			g.add(-1)
		}
	}
}

func (g *gauge) token(t hclsyntax.TokenType) {
	top := len(g.open) - 1
	switch t {
	case hclsyntax.TokenOBrack: // also an index: a[0][0]… is a chain
		g.add(1)
		g.push()
	case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
		hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
		g.push()
	case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
		hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
		if top > 0 {
			g.depth -= g.open[top] + 1
			g.open = g.open[:top]
		}
	case hclsyntax.TokenComma, hclsyntax.TokenEqual:
		g.add(-g.open[top])
	case hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
		hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenBang, hclsyntax.TokenQuestion, hclsyntax.TokenDot,
		hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
		hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq:
		g.add(1)
	}
}
