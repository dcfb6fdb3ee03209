package spec

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	wordwrap "github.com/mitchellh/go-wordwrap"
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
// files are the parsed files by name, as Sources.Files has them. A width of 0 leaves lines as long as
// they are. Control characters of the files are not passed on to the terminal.
func Format(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File, color bool, width int) error {
	if width > 0 {
		width = max(width, minWidth)
	}
	f := formatter{out: bufio.NewWriter(w), files: files, color: color, width: width}
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
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r // as wide as in the line above
		}
		return ' '
	}, before)
	carets := strings.Repeat("^", max(utf8.RuneCountInString(marked), 1))
	fmt.Fprintf(f.out, "%s%s%s\n", f.paint(dim, "      | "), pad, f.paint(code, carets))
}

// fit cuts a line to width runes around what is marked.
func fit(before, marked, after string, width int) (cutBefore, cutMarked, cutAfter string) {
	b, m, a := []rune(before), []rune(marked), []rune(after)
	if len(b)+len(m)+len(a) <= width {
		return before, marked, after
	}
	if half := width / 2; len(b) > half {
		b = append([]rune("…"), b[len(b)-half+1:]...)
	}
	if room := width - len(b); len(m) > room {
		return string(b), string(m[:room-1]) + "…", ""
	}
	if room := width - len(b) - len(m); len(a) > room {
		a = append(a[:max(room-1, 0)], '…')
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
