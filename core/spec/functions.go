package spec

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Functions gives the functions that HCL may call, with the paths of file, filebase64 and templatefile
// relative to dir. There is none that reads the environment, the clock or the network: the same files
// and variables give the same set everywhere.
func Functions(dir string) map[string]function.Function {
	return functionsIn(dir, newMeter(maxWork))
}

func functionsIn(dir string, m *meter) map[string]function.Function {
	all := pureFunctions(m)
	all["file"] = fileFunction(dir, m)
	all["filebase64"] = fileBase64Function(dir, m)
	all["templatefile"] = templateFunction(dir, m)
	return all
}

func pureFunctions(m *meter) map[string]function.Function {
	return map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc,

		"chomp": stdlib.ChompFunc, "join": joinFunction(m), "lower": stdlib.LowerFunc,
		"replace": replaceFunction(m), "split": stdlib.SplitFunc, "substr": stdlib.SubstrFunc,
		"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,
		"format": formatFunction(stdlib.FormatFunc, m), "formatlist": formatFunction(stdlib.FormatListFunc, m),

		"coalesce": stdlib.CoalesceFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc,
		"contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc,
		"flatten": stdlib.FlattenFunc, "keys": stdlib.KeysFunc, "length": lengthFunction(),
		"lookup": stdlib.LookupFunc, "merge": stdlib.MergeFunc, "range": stdlib.RangeFunc,
		"reverse": stdlib.ReverseListFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc,
		"values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,

		"base64decode": base64DecodeFunction(), "base64encode": base64EncodeFunction(),
		"jsondecode": jsonDecodeFunction(), "jsonencode": stdlib.JSONEncodeFunc, "sha256": sha256Function(),

		"tobool":   stdlib.MakeToFunc(cty.Bool),
		"tolist":   stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap":    stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
		"tonumber": stdlib.MakeToFunc(cty.Number),
		"toset":    stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring": stdlib.MakeToFunc(cty.String),
	}
}

// textFunction makes a function from one string to another.
func textFunction(parameter string, apply func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: parameter, Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			out, err := apply(args[0].AsString())
			if err != nil {
				return cty.UnknownVal(cty.String), function.NewArgError(0, err)
			}
			return cty.StringVal(out), nil
		},
	})
}

func sha256Function() function.Function {
	return textFunction("text", func(text string) (string, error) {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:]), nil
	})
}

func base64EncodeFunction() function.Function {
	return textFunction("text", func(text string) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(text)), nil
	})
}

func base64DecodeFunction() function.Function {
	return textFunction("base64", func(text string) (string, error) {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", errors.New("not standard base64 (RFC 4648, with padding)")
		}
		if !utf8.Valid(data) {
			return "", errors.New("it decodes to bytes that are not UTF-8 text, which a string cannot hold")
		}
		return string(data), nil
	})
}

// jsonDecodeFunction is stdlib's behind a check of the depth, as that recurses without a limit.
func jsonDecodeFunction() function.Function {
	decode := stdlib.JSONDecodeFunc
	check := func(args []cty.Value) error {
		v, _ := args[0].Unmark()
		if v.IsKnown() && !v.IsNull() && jsonDepth([]byte(v.AsString())) > maxDepth {
			return function.NewArgErrorf(0, "the JSON is nested deeper than %d", maxDepth)
		}
		return nil
	}
	return guard(decode, check)
}

// guard runs check before f, both when f's type and when its value is asked for.
func guard(f function.Function, check func(args []cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.DynamicPseudoType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

// lengthFunction is the length of a string in characters, or of a collection.
func lengthFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v := args[0]
			t := v.Type()
			switch {
			case t == cty.String:
				return stdlib.Strlen(v)
			case t.IsTupleType(), t.IsObjectType(), t.IsCollectionType():
				return cty.NumberIntVal(int64(v.LengthInt())), nil
			}
			return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "a %s has no length", t.FriendlyName())
		},
	})
}

// toText converts a primitive value for the estimates below.
func toText(v cty.Value) string {
	v, _ = v.UnmarkDeep()
	if v.IsKnown() && !v.IsNull() {
		if s, err := convert.Convert(v, cty.String); err == nil {
			return s.AsString()
		}
	}
	return ""
}

func tooLong(what string) error { return fmt.Errorf("%s: %w", what, errWork) }
