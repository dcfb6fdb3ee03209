package nodeconfig

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/hcl/v2"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

// Config is a node's configuration. Strings that were not given are empty.
type Config struct {
	DataDir    string
	PluginDirs []string
	Cluster    string
	Member     *Member // nil: the node is a cluster of its own
	Node       string
	Labels     map[string]string
	Socket     string
	Listen     string
	Metrics    string // where Prometheus is answered without credentials
	LogLevel   string
	LogJSON    bool
	Targets    []Target // in the order of the file

	files map[string]*hcl.File
}

// Member is a cluster block.
type Member struct {
	Listen        string
	Advertise     string
	JoinTokenFile string
	DeadAfter     time.Duration
	NodeGrace     time.Duration
}

// Target is one configured target. Its body is decoded later: see Decode.
type Target struct {
	Kind   core.DriverKind
	Driver string
	Name   string
	Range  hcl.Range

	body  hcl.Body
	files map[string]*hcl.File
}

// Decode gives the body as JSON, checked against the driver's target schema if that is known.
func (t *Target) Decode(schema []core.Attribute, known bool) (json.RawMessage, error) {
	if !known {
		return t.decodeAny()
	}
	data, diags := spec.DecodeBody(t.body, schema, &hcl.EvalContext{})
	if diags.HasErrors() {
		return nil, &Error{Diagnostics: diags, files: t.files}
	}
	return data, nil
}

// decodeAny gives whatever attributes the body has, as they are.
func (t *Target) decodeAny() (json.RawMessage, error) {
	attributes, diags := t.body.JustAttributes()
	out := make(map[string]ctyjson.SimpleJSONValue, len(attributes))
	for name, attr := range attributes {
		value, more := attr.Expr.Value(&hcl.EvalContext{})
		diags = append(diags, more...)
		out[name] = ctyjson.SimpleJSONValue{Value: value}
	}
	if diags.HasErrors() {
		return nil, &Error{Diagnostics: diags, files: t.files}
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Range, err)
	}
	return data, nil
}

// Error is what is wrong with a configuration, with the places.
type Error struct {
	Diagnostics hcl.Diagnostics
	files       map[string]*hcl.File
}

// Error gives the first problem, with its place, and how many more there are.
func (e *Error) Error() string {
	for i, d := range e.Diagnostics {
		if d.Severity != hcl.DiagError {
			continue
		}
		more := ""
		if rest := len(e.Diagnostics) - i - 1; rest > 0 {
			more = fmt.Sprintf(" (and %d more)", rest)
		}
		return d.Error() + more
	}
	return "invalid configuration"
}

// Print writes every problem with its line and a caret under the place.
func (e *Error) Print(w io.Writer, color bool, width int) error {
	return spec.Format(w, e.Diagnostics, e.files, color, width)
}
