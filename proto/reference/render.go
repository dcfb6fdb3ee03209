package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// renderer writes one package's reference.
type renderer struct {
	bytes.Buffer
	pkg  protoreflect.FullName
	bare []string // names without a comment
}

// Render writes the reference of a package as Markdown. Every service, call, message, field, enum and value
// must have a comment: the reference is made of nothing else.
func Render(set *descriptorpb.FileDescriptorSet, pkg protoreflect.FullName) ([]byte, error) {
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	var files []protoreflect.FileDescriptor
	registry.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no package %s", pkg)
	}
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return rank(a) - rank(b) })
	r := &renderer{pkg: pkg}
	r.WriteString("<!-- Made from proto/ by `make proto`: change the comments there. -->\n\n# Driver protocol reference\n")
	r.paragraphs(strings.Join(preamble(files[0]), "\n"))
	r.contents(files)
	for _, f := range files {
		r.file(f)
	}
	if len(r.bare) > 0 {
		return nil, fmt.Errorf("without a comment: %s", strings.Join(r.bare, ", "))
	}
	return r.Bytes(), nil
}

// rank orders files as a reader wants them: what is common, then the kinds.
func rank(f protoreflect.FileDescriptor) int {
	path := f.Path()
	for i, name := range []string{"driver.proto", "compute.proto", "traffic.proto", "metrics.proto"} {
		if strings.HasSuffix(path, "/"+name) {
			return i
		}
	}
	return len(path) + 100
}

// syntaxStatement is the path of a file's syntax statement in its source info.
const syntaxStatement = 12

// preamble is the comment at the head of a file.
func preamble(f protoreflect.FileDescriptor) []string {
	location := f.SourceLocations().ByPath(protoreflect.SourcePath{syntaxStatement})
	return append(slices.Clone(location.LeadingDetachedComments), location.LeadingComments)
}

func (r *renderer) contents(files []protoreflect.FileDescriptor) {
	r.WriteString("\n")
	for _, f := range files {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			var calls []string
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				calls = append(calls, fmt.Sprintf("[%s](#%s)", m.Name(), anchor(callTitle(m))))
			}
			fmt.Fprintf(r, "- [%s](#%s): %s\n", s.Name(), anchor(string(s.Name())), strings.Join(calls, ", "))
		}
	}
}

// file writes a file's services, and then its messages and enums in the order in which they stand there.
func (r *renderer) file(f protoreflect.FileDescriptor) {
	for i := range f.Services().Len() {
		r.service(f.Services().Get(i))
	}
	r.WriteString("\n### Messages and enums of " + f.Path()[strings.LastIndex(f.Path(), "/")+1:] + "\n")
	var parts []protoreflect.Descriptor
	for i := range f.Messages().Len() {
		parts = append(parts, f.Messages().Get(i))
	}
	for i := range f.Enums().Len() {
		parts = append(parts, f.Enums().Get(i))
	}
	line := func(d protoreflect.Descriptor) int { return f.SourceLocations().ByDescriptor(d).StartLine }
	slices.SortFunc(parts, func(a, b protoreflect.Descriptor) int { return line(a) - line(b) })
	for _, d := range parts {
		switch d := d.(type) {
		case protoreflect.MessageDescriptor:
			r.message(d)
		case protoreflect.EnumDescriptor:
			r.enum(d)
		}
	}
}

func (r *renderer) service(s protoreflect.ServiceDescriptor) {
	fmt.Fprintf(r, "\n## %s\n", s.Name())
	r.paragraphs(r.comment(s))
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		fmt.Fprintf(r, "\n### %s\n\n", callTitle(m))
		fmt.Fprintf(r, "`/%s/%s`: %s%s → %s%s\n", s.FullName(), m.Name(), stream(m.IsStreamingClient()), r.link(m.Input()),
			stream(m.IsStreamingServer()), r.link(m.Output()))
		r.paragraphs(r.comment(m))
	}
}

// callTitle is a call's heading: the service's name tells it from the messages.
func callTitle(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("%s.%s", m.Parent().Name(), m.Name())
}

func stream(is bool) string {
	if is {
		return "stream of "
	}
	return ""
}

func (r *renderer) message(m protoreflect.MessageDescriptor) {
	fmt.Fprintf(r, "\n#### %s\n", m.Name())
	r.paragraphs(r.comment(m))
	if m.Fields().Len() == 0 {
		r.WriteString("\nNo fields.\n")
		return
	}
	r.WriteString("\n| number | field | type | meaning |\n|---|---|---|---|\n")
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		fmt.Fprintf(r, "| %d | `%s` | %s | %s |\n", f.Number(), f.Name(), r.typeOf(f), cell(r.comment(f)))
	}
}

func (r *renderer) enum(e protoreflect.EnumDescriptor) {
	fmt.Fprintf(r, "\n#### %s\n", e.Name())
	r.paragraphs(r.comment(e))
	r.WriteString("\n| number | value | meaning |\n|---|---|---|\n")
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		fmt.Fprintf(r, "| %d | `%s` | %s |\n", v.Number(), v.Name(), cell(r.comment(v)))
	}
}
