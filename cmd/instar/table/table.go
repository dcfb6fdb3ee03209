// Package table prints aligned tables for people.
package table

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Style paints text; the zero Style leaves it plain.
type Style struct{ Color bool }

// The colours that have a meaning in every table.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
	bold   = "1"
)

// Good paints what is as it should be.
func (s Style) Good(text string) string { return s.paint(green, text) }

// Bad paints what has failed.
func (s Style) Bad(text string) string { return s.paint(red, text) }

// Warn paints what is under way or needs a look.
func (s Style) Warn(text string) string { return s.paint(yellow, text) }

// Faint paints what is there for completeness.
func (s Style) Faint(text string) string { return s.paint(faint, text) }

// Bold paints headings.
func (s Style) Bold(text string) string { return s.paint(bold, text) }

func (s Style) paint(code, text string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Width is how many columns text takes on a terminal, without its escapes.
func Width(text string) int { return utf8.RuneCountInString(escape.ReplaceAllString(text, "")) }

// Pad fills text with blanks to width columns.
func Pad(text string, width int) string {
	if n := width - Width(text); n > 0 {
		return text + strings.Repeat(" ", n)
	}
	return text
}

// Clean makes text that came from elsewhere safe to print: control characters become "·", so that no
// name or log line can move the cursor or paint the screen.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '·'
		}
		return r
	}, text)
}

// Table collects rows under a header.
type Table struct {
	header []string
	rows   [][]string
}

// New makes a table with the given column titles.
func New(header ...string) *Table { return &Table{header: header} }

// Row adds a row; missing cells are empty.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Write prints the table; columns are as wide as their widest cell, two blanks apart.
func (t *Table) Write(w io.Writer, style Style) error {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			if i < len(widths) {
				widths[i] = max(widths[i], Width(cell))
			}
		}
	}
	head := make([]string, len(t.header))
	for i, h := range t.header {
		head[i] = style.Faint(h)
	}
	for _, row := range append([][]string{head}, t.rows...) {
		var line strings.Builder
		for i := range widths {
			cell := ""
			if i < len(row) {
				cell = row[i]
			}
			line.WriteString(Pad(cell, widths[i]+2))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
