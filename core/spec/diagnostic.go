package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core"
)

// Severity is how bad a Diagnostic is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // the set cannot be used
	SeverityWarning Severity = "warning" // it can, and is seldom meant so
)

// Diagnostic is a diagnostic for programs.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`
	Detail   string   `json:"detail,omitempty"`
	File     string   `json:"file,omitempty"`   // empty: it is about no place in a file
	Line     int      `json:"line,omitempty"`   // from 1
	Column   int      `json:"column,omitempty"` // from 1, in characters as a person counts them
}

// Diagnostics converts diagnostics for programs; the result is never nil.
func Diagnostics(diags hcl.Diagnostics) []Diagnostic {
	out := make([]Diagnostic, 0, len(diags))
	for _, d := range diags {
		o := Diagnostic{Severity: SeverityError, Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			o.Severity = SeverityWarning
		}
		if d.Subject != nil {
			o.File, o.Line, o.Column = d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column
		}
		out = append(out, o)
	}
	return out
}

// Error gives the errors among diagnostics as one CodeInvalid error, or nil if there is none.
func Error(diags hcl.Diagnostics) error {
	count, text := 0, ""
	for _, d := range Diagnostics(diags) {
		if d.Severity != SeverityError {
			continue
		}
		if count++; count > 1 {
			continue
		}
		text = d.Summary
		if d.Detail != "" {
			text += ": " + trimStop(d.Detail)
		}
		if d.File != "" {
			text = fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, text)
		}
	}
	if count == 0 {
		return nil
	}
	if count > 1 {
		text += fmt.Sprintf(" (and %d more)", count-1)
	}
	return core.Errorf(core.CodeInvalid, "%s", text)
}

func trimStop(text string) string {
	if n := len(text); n > 0 && text[n-1] == '.' {
		return text[:n-1]
	}
	return text
}
