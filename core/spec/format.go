package spec

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	wordwrap "github.com/mitchellh/go-wordwrap"
	"golang.org/x/text/width"
)

const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

// maxShown is how many diagnostics Format prints.
const maxShown = 50

// minWidth is the narrowest terminal that lines are fitted to.
const minWidth = 40

// Format writes diagnostics for a person, each with its file, line and column, the line itself and a
// caret under the place:
//
//	Error: Unknown reference
//	  shop.hcl:12:11
//	   12 |   count = var.cuont
//	      |           ^^^^^^^^^
//	  There is no variable "cuont". Did you mean "count"?
//
// files are the parsed files by name, as Sources.Files has them. 0 columns leave lines as long as
// they are. Control characters of the files are not passed on to the terminal.
func Format(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File, color bool, columns int) error {
	if columns > 0 {
		columns = max(columns, minWidth)
	}
	f := formatter{out: bufio.NewWriter(w), files: files, color: color, width: columns}
	for i, d := range diags {
		if i == maxShown {
			fmt.Fprintf(f.out, "… and %d more\n", len(diags)-i)
			break
		}
		if i > 0 {
			fmt.Fprintln(f.out)
		}
		f.diagnostic(d)
	}
	return f.out.Flush()
}

type formatter struct {
	out   *bufio.Writer
	files map[string]*hcl.File
	color bool
	width int
}

func (f *formatter) paint(code, text string) string {
	if !f.color {
		return text
	}
	return code + text + reset
}

func (f *formatter) diagnostic(d *hcl.Diagnostic) {
	word, code := "Error", red
	if d.Severity == hcl.DiagWarning {
		word, code = "Warning", yellow
	}
	fmt.Fprintf(f.out, "%s %s\n", f.paint(code+bold, word+":"), f.paint(bold, printable(d.Summary)))
	if d.Subject != nil {
		start := d.Subject.Start
		fmt.Fprintf(f.out, "  %s:%d:%d\n", printable(d.Subject.Filename), start.Line, start.Column)
		if file := f.files[d.Subject.Filename]; file != nil {
			f.snippet(file.Bytes, *d.Subject, code)
		}
	}
	if d.Detail != "" {
		f.detail(printable(d.Detail))
	}
}

func (f *formatter) detail(text string) {
	if f.width > 0 {
		text = wordwrap.WrapString(text, uint(f.width-2)) //nolint:gosec // at least minWidth
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintf(f.out, "  %s\n", line)
	}
}

// snippet shows the first line of the place and underlines what of it belongs to the place.
func (f *formatter) snippet(src []byte, rng hcl.Range, code string) {
	start := min(max(rng.Start.Byte, 0), len(src))
	begin := bytes.LastIndexByte(src[:start], '\n') + 1
	end := len(src)
	if n := bytes.IndexByte(src[start:], '\n'); n >= 0 {
		end = start + n
	}
	last := min(max(rng.End.Byte, start), end)
	before := printable(strings.TrimSuffix(string(src[begin:start]), "\r"))
	marked := printable(strings.TrimSuffix(string(src[start:last]), "\r"))
	after := printable(strings.TrimSuffix(string(src[last:end]), "\r"))
	gutter := fmt.Sprintf("%5d | ", rng.Start.Line)
	if f.width > 0 {
		before, marked, after = fit(before, marked, after, f.width-len(gutter))
	}
	fmt.Fprintf(f.out, "%s%s%s%s\n", f.paint(dim, gutter), before, f.paint(bold, marked), after)
	var pad strings.Builder
	for _, r := range before {
		if r == '\t' {
			pad.WriteRune(r) // as wide as in the line above
		} else {
			pad.WriteString(strings.Repeat(" ", columns(r)))
		}
	}
	wide := 0
	for _, r := range marked {
		wide += columns(r)
	}
	carets := strings.Repeat("^", max(wide, 1))
	fmt.Fprintf(f.out, "%s%s%s\n", f.paint(dim, "      | "), pad.String(), f.paint(code, carets))
}

// columns is how many columns of a terminal a character takes.
func columns(r rune) int {
	if unicode.IsMark(r) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// fit cuts a line to room characters around what is marked.
func fit(before, marked, after string, room int) (cutBefore, cutMarked, cutAfter string) {
	b, m, a := []rune(before), []rune(marked), []rune(after)
	if len(b)+len(m)+len(a) <= room {
		return before, marked, after
	}
	if half := room / 2; len(b) > half {
		b = append([]rune("…"), b[len(b)-half+1:]...)
	}
	if left := room - len(b); len(m) > left {
		return string(b), string(m[:left-1]) + "…", ""
	}
	if left := room - len(b) - len(m); len(a) > left {
		a = append(a[:max(left-1, 0)], '…')
	}
	return string(b), string(m), string(a)
}

// printable replaces what could move the cursor or hide text on a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || unicode.IsPrint(r) || unicode.IsMark(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
