package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// buf is buf itself, as `make proto` and `make lint` have it.
func buf(t *testing.T, args ...string) (stdout []byte, err error) {
	t.Helper()
	tool, err := exec.Command("../../.ci/tool", "buf").Output()
	if err != nil {
		t.Fatalf(".ci/tool buf: %v", err)
	}
	cmd := exec.Command(strings.TrimSpace(string(tool)), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err = cmd.Output()
	if stderr.Len() > 0 {
		t.Logf("buf %s: %s", strings.Join(args, " "), &stderr)
	}
	return stdout, err
}

// TestReferenceIsOfToday: docs/drivers/reference.md is what `make proto` makes of proto/.
func TestReferenceIsOfToday(t *testing.T) {
	image, err := buf(t, "build", "..", "-o", "-")
	if err != nil {
		t.Fatal(err)
	}
	var fresh bytes.Buffer
	if err := run(bytes.NewReader(image), &fresh); err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../docs/drivers/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh.Bytes(), committed) {
		t.Error("docs/drivers/reference.md is not what proto/ says: run make proto")
	}
}

// TestEverythingHasAComment: the reference is made of comments, so one that is lacking is an error.
func TestEverythingHasAComment(t *testing.T) {
	image, err := buf(t, "build", "..", "-o", "-")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(image, &set); err != nil {
		t.Fatal(err)
	}
	for _, f := range set.GetFile() {
		if !strings.HasSuffix(f.GetName(), "/traffic.proto") {
			continue
		}
		for _, l := range f.GetSourceCodeInfo().GetLocation() {
			if strings.Contains(l.GetLeadingComments(), "Share of new requests") {
				l.LeadingComments = nil
			}
		}
	}
	if _, err := Render(&set, protocol); err == nil || !strings.Contains(err.Error(), "instar.driver.v1.Pool.weight") {
		t.Errorf("a field without a comment: %v", err)
	}
	if _, err := Render(&set, "instar.driver.v7"); err == nil {
		t.Error("a package that does not exist is no error")
	}
}

// TestLinksLead: every link of the reference leads to a heading of it.
func TestLinksLead(t *testing.T) {
	text, err := os.ReadFile("../../docs/drivers/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			headings[anchor(strings.TrimSpace(title))] = true
		}
	}
	links := strings.Split(string(text), "](#")[1:]
	if len(links) < 100 {
		t.Fatalf("there are %d links only", len(links))
	}
	for _, link := range links {
		name, _, _ := strings.Cut(link, ")")
		if !headings[name] {
			t.Errorf("there is no heading for #%s", name)
		}
	}
}

// TestBreakingChanges: what is in proto/ can be spoken with everything that was released, and buf notices
// where it could not.
func TestBreakingChanges(t *testing.T) {
	if out, err := buf(t, "breaking", "..", "--against", "../released.txtpb"); err != nil {
		t.Errorf("proto/ breaks what was released: %v\n%s", err, out)
	}
	for _, c := range []struct{ name, file, old, new, want string }{
		{"a removed field", "driver.proto", "  string reason = 2;\n", "", `field "2" with name "reason"`},
		{"another number", "traffic.proto", "int64 weight = 2;", "int64 weight = 7;", `field "2" with name "weight"`},
		{"another type", "compute.proto", "int32 tail = 3;", "string tail = 3;", "tail"},
		{"another name", "metrics.proto", "string text = 1;", "string query = 1;", "query"},
		{"a removed call", "traffic.proto", "  rpc Hold(HoldRequest) returns (HoldResponse);\n", "", "Hold"},
		{"an answer that becomes a stream", "metrics.proto", "returns (QueryResponse)", "returns (stream QueryResponse)", "Query"},
		{"a removed value", "driver.proto", "  KIND_METRICS = 3;\n", "", `enum "Kind"`},
		{"an added field", "driver.proto", "  string reason = 2;\n", "  string reason = 2;\n  string colour = 99;\n", ""},
		{"an added call", "metrics.proto", "service MetricsService {\n", "service MetricsService {\n  rpc Ask(QueryRequest) returns (QueryResponse);\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("..")); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "instar", "driver", "v1", c.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), c.old) {
				t.Fatalf("%s does not have %q", c.file, c.old)
			}
			if err := os.WriteFile(path, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := buf(t, "breaking", dir, "--against", "../released.txtpb")
			switch {
			case c.want == "" && err != nil:
				t.Errorf("buf refuses it: %v\n%s", err, out)
			case c.want != "" && (err == nil || !strings.Contains(string(out), c.want)):
				t.Errorf("buf says %v\n%s\nwant it to name %s", err, out, c.want)
			}
		})
	}
}
