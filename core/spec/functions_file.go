package spec

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/instarhq/instar/core"
)

// MaxReadBytes is how much file, filebase64 and templatefile read of one file: what a stored object
// can hold at most, less its envelope.
const MaxReadBytes = core.MaxValueBytes - 4<<10

func fileFunction(dir string, m *meter) function.Function {
	return textFunction("path", func(path string) (string, error) {
		data, err := readNamed(dir, path, m)
		if err != nil {
			return "", err
		}
		return textOf(path, data)
	})
}

func fileBase64Function(dir string, m *meter) function.Function {
	return textFunction("path", func(path string) (string, error) {
		data, err := readNamed(dir, path, m)
		return base64.StdEncoding.EncodeToString(data), err
	})
}

// readNamed reads a file that a function names, relative to dir.
func readNamed(dir, path string, m *meter) ([]byte, error) {
	if path == "" {
		return nil, errors.New("the path is empty")
	}
	full := path
	if !filepath.IsAbs(path) {
		full = filepath.Join(dir, path)
	}
	data, err := readFile(full, MaxReadBytes)
	if err != nil {
		var perr *fs.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	return data, m.spend(int64(len(data)))
}

// textOf refuses content that a string would not hold byte for byte: strings of the language are
// UTF-8 in normalisation form C.
func textOf(path string, data []byte) (string, error) {
	if invalidUTF8(data) >= 0 {
		return "", fmt.Errorf("%s is not UTF-8 text: use filebase64, for a config with data_base64", path)
	}
	if cty.StringVal(string(data)).AsString() != string(data) {
		return "", fmt.Errorf("%s is not in Unicode normalisation form C and would be altered: use filebase64, for a config with data_base64", path)
	}
	return string(data), nil
}

// templateFunction renders a file as an HCL template. Paths in the template are relative to the
// template; it cannot render templates itself, so there is no recursion.
func templateFunction(dir string, m *meter) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{
			{Name: "path", Type: cty.String},
			{Name: "vars", Type: cty.DynamicPseudoType},
		},
		Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, err := renderTemplate(dir, args[0].AsString(), args[1], m)
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			return cty.StringVal(text), nil
		},
	})
}

func renderTemplate(dir, path string, vars cty.Value, m *meter) (string, error) {
	if t := vars.Type(); !t.IsObjectType() && !t.IsMapType() {
		return "", function.NewArgErrorf(1, "the variables of a template are an object, not a %s", t.FriendlyName())
	}
	data, err := readNamed(dir, path, m)
	if err != nil {
		return "", function.NewArgError(0, err)
	}
	text, err := textOf(path, data)
	if err != nil {
		return "", function.NewArgError(0, err)
	}
	expr, diags := parseTemplate([]byte(text), path)
	if diags.HasErrors() {
		return "", function.NewArgError(0, templateError(diags))
	}
	given := vars.AsValueMap()
	for _, ref := range expr.Variables() {
		if _, ok := given[ref.RootName()]; !ok {
			rng := ref.SourceRange()
			return "", function.NewArgErrorf(1, "%s:%d:%d: the template uses %q, which is not among the variables given to it.%s",
				path, rng.Start.Line, rng.Start.Column, ref.RootName(), suggest(ref.RootName(), keysOf(given)))
		}
	}
	full := path
	if !filepath.IsAbs(path) {
		full = filepath.Join(dir, path)
	}
	functions := functionsIn(filepath.Dir(full), m)
	delete(functions, "templatefile")
	m.instrument(expr)
	v, diags := expr.Value(&hcl.EvalContext{Variables: given, Functions: functions})
	if diags.HasErrors() {
		return "", function.NewArgError(0, templateError(diags))
	}
	if err := m.charge(v); err != nil {
		return "", function.NewArgError(0, err)
	}
	if v.IsNull() || !v.IsKnown() {
		return "", function.NewArgErrorf(0, "%s: the template gives no text", path)
	}
	if v, _ = v.UnmarkDeep(); v.Type() == cty.String {
		return v.AsString(), nil
	}
	if v.Type().IsPrimitiveType() {
		return toText(v), nil
	}
	return "", function.NewArgErrorf(0, "%s: the template gives a %s, not text", path, v.Type().FriendlyName())
}

// templateError turns the first diagnostic within a template into an error that names the place.
func templateError(diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		if d.Subject == nil {
			return fmt.Errorf("%s: %s", d.Summary, d.Detail)
		}
		return fmt.Errorf("%s:%d:%d: %s: %s", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column, d.Summary, d.Detail)
	}
	return nil
}

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
