package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// comment is what stands before a declaration.
func (r *renderer) comment(d protoreflect.Descriptor) string {
	text := strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments)
	if text == "" {
		r.bare = append(r.bare, string(d.FullName()))
	}
	return text
}

// paragraphs writes a comment with its own paragraphs, each on one line.
func (r *renderer) paragraphs(comment string) {
	for paragraph := range strings.SplitSeq(comment, "\n\n") {
		var lines []string
		for line := range strings.Lines(paragraph) {
			lines = append(lines, strings.TrimSpace(line))
		}
		if text := strings.TrimSpace(strings.Join(lines, " ")); text != "" {
			r.WriteString("\n" + escape(text) + "\n")
		}
	}
}

// cell is a comment within a table.
func cell(comment string) string {
	return strings.ReplaceAll(escape(strings.Join(strings.Fields(comment), " ")), "|", `\|`)
}

// escape keeps what looks like HTML or emphasis as it is; between backticks nothing has to be kept.
func escape(text string) string {
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("<", `\<`, "*", `\*`, "$", `\$`).Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

// typeOf is a field's type, with links to messages and enums of this reference.
func (r *renderer) typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return fmt.Sprintf("map of %s to %s", r.typeOf(f.MapKey()), r.typeOf(f.MapValue()))
	}
	text := f.Kind().String()
	switch {
	case f.Message() != nil:
		text = r.link(f.Message())
	case f.Enum() != nil:
		text = r.link(f.Enum())
	}
	if f.IsList() {
		return "list of " + text
	}
	return text
}

// link is a link to a type of this reference, or the name of one from elsewhere.
func (r *renderer) link(d protoreflect.Descriptor) string {
	if d.FullName().Parent() != r.pkg {
		return "`" + string(d.FullName()) + "`"
	}
	return fmt.Sprintf("[%s](#%s)", d.Name(), anchor(string(d.Name())))
}

// anchor is the name that renderers of Markdown give a heading.
func anchor(title string) string {
	return strings.ReplaceAll(strings.ToLower(title), ".", "")
}
