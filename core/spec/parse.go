package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxDepth bounds how deep the syntax tree of one expression can become. The HCL parser and evaluator
// recurse, and a Go program whose stack is full ends without a chance to say anything; nobody writes
// an expression of this depth by hand.
const maxDepth = 1000

// Parse parses one file in native HCL syntax, refusing what is nested too deeply to be handled. The
// file is never nil.
func Parse(data []byte, filename string) (*hcl.File, hcl.Diagnostics) {
	if rng := tooDeep(data, filename, hclsyntax.LexConfig); rng != nil {
		return &hcl.File{Body: hcl.EmptyBody(), Bytes: data}, deepProblem(rng)
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
	if rng := tooDeep(data, filename, hclsyntax.LexExpression); rng != nil {
		return nil, deepProblem(rng)
	}
	return hclsyntax.ParseExpression(data, filename, hcl.InitialPos)
}

func parseTemplate(data []byte, filename string) (hclsyntax.Expression, hcl.Diagnostics) {
	if rng := tooDeep(data, filename, hclsyntax.LexTemplate); rng != nil {
		return nil, deepProblem(rng)
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

// tooDeep returns where the tokens begin to make a syntax tree deeper than maxDepth, or nil. Each open
// bracket, and each operator since the last comma or assignment within it, may add one level.
func tooDeep(data []byte, filename string, lex func([]byte, string, hcl.Pos) (hclsyntax.Tokens, hcl.Diagnostics)) *hcl.Range {
	tokens, _ := lex(data, filename, hcl.InitialPos) // the parser reports its diagnostics
	open := []int{0}                                 // operators so far, per open bracket
	depth := 0                                       // sum of open, and its length
	for _, t := range tokens {
		top := len(open) - 1
		switch t.Type {
		case hclsyntax.TokenOBrack: // also an index: a[0][0]… is a chain
			open[top]++
			open = append(open, 0)
			depth += 2
		case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp:
			open = append(open, 0)
			depth++
		case hclsyntax.TokenTemplateControl: // an if or for directive holds all that follows it
			open[top]++
			open = append(open, 0)
			depth += 2
		case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			if top > 0 {
				depth -= open[top] + 1
				open = open[:top]
			}
		case hclsyntax.TokenComma, hclsyntax.TokenEqual:
			depth -= open[top]
			open[top] = 0
		case hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
			hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenBang, hclsyntax.TokenQuestion, hclsyntax.TokenDot,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
			hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq:
			open[top]++
			depth++
		}
		if depth > maxDepth {
			return t.Range.Ptr()
		}
	}
	return nil
}
