package spec_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

func at(file string, line, column, from, to int) *hcl.Range {
	return &hcl.Range{Filename: file, Start: hcl.Pos{Line: line, Column: column, Byte: from}, End: hcl.Pos{Line: line, Column: column + to - from, Byte: to}}
}

func formatted(t *testing.T, d *hcl.Diagnostic, source string, color bool, columns int) string {
	t.Helper()
	var b strings.Builder
	if err := spec.Format(&b, hcl.Diagnostics{d}, map[string]*hcl.File{"f": {Bytes: []byte(source)}}, color, columns); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormat(t *testing.T) {
	long := strings.Repeat("a", 50) + "XYZ" + strings.Repeat("b", 50)
	for name, c := range map[string]struct {
		diag    hcl.Diagnostic
		source  string
		color   bool
		columns int
		want    string
	}{
		"no place":  {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Detail: "D."}, "", false, 0, "Error: S\n  D.\n"},
		"no source": {hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "S", Subject: at("g", 3, 1, 0, 1)}, "", false, 0, "Warning: S\n  g:3:1\n"},
		"color": {
			hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 1, 2, 1, 2)},
			"abc", true, 0,
			"\x1b[31m\x1b[1mError:\x1b[0m \x1b[1mS\x1b[0m\n  f:1:2\n\x1b[2m    1 | \x1b[0ma\x1b[1mb\x1b[0mc\n\x1b[2m      | \x1b[0m \x1b[31m^\x1b[0m\n",
		},
		"wrapped":   {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Detail: strings.Repeat("word ", 12) + "end"}, "", false, 40, "Error: S\n  word word word word word word word\n  word word word word word end\n"},
		"long line": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 1, 51, 50, 53)}, long, false, 40, "Error: S\n  f:1:51\n    1 | …aaaaaaaaaaaaaaaXYZbbbbbbbbbbbb…\n      |                 ^^^\n"},
		"long mark": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 1, 1, 0, 100)}, long, false, 40, "Error: S\n  f:1:1\n    1 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\n      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"},
		"several":   {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 2, 3, 4, 9)}, "ab\n\n{x\r\ny}\n", false, 0, "Error: S\n  f:2:3\n    2 | {x\n      | ^^\n"},
		"at end":    {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 1, 3, 2, 2)}, "ab", false, 0, "Error: S\n  f:1:3\n    1 | ab\n      |   ^\n"},
		"beyond":    {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 9, 3, 99, 120)}, "ab", false, 0, "Error: S\n  f:9:3\n    9 | ab\n      |   ^\n"},
		"control":   {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "\x1b[2J", Detail: "a\rb\u202e", Subject: at("f", 1, 1, 0, 1)}, "\x1bx\u0301\x07", false, 0, "Error: \ufffd[2J\n  f:1:1\n    1 | \ufffdx\u0301\ufffd\n      | ^\n  a\ufffdb\ufffd\n"},
		"marks":     {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("f", 1, 2, 3, 4)}, "x\u0301y", false, 0, "Error: S\n  f:1:2\n    1 | x\u0301y\n      |  ^\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := formatted(t, &c.diag, c.source, c.color, c.columns); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestFormatStopsAtFifty(t *testing.T) {
	var diags hcl.Diagnostics
	for i := range 60 {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: fmt.Sprint(i)})
	}
	if got := text(t, diags, nil); strings.Count(got, "Error:") != 50 || !strings.HasSuffix(got, "… and 10 more\n") {
		t.Errorf("got %s", got)
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestFormatReportsWriteErrors(t *testing.T) {
	if err := spec.Format(closed{}, hcl.Diagnostics{{Summary: "x"}}, nil, false, 0); err == nil {
		t.Error("there is no error")
	}
}

func TestError(t *testing.T) {
	if err := spec.Error(nil); err != nil {
		t.Errorf("got %v", err)
	}
	warning := &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "W"}
	if err := spec.Error(hcl.Diagnostics{warning}); err != nil {
		t.Errorf("a warning is no error: %v", err)
	}
	first := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Bad", Detail: "It is bad.", Subject: at("f", 3, 7, 0, 1)}
	second := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Worse"}
	for want, diags := range map[string]hcl.Diagnostics{
		"f:3:7: Bad: It is bad":              {warning, first},
		"f:3:7: Bad: It is bad (and 1 more)": {first, warning, second},
		"Worse":                              {second},
	} {
		if err := spec.Error(diags); core.CodeOf(err) != core.CodeInvalid || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
