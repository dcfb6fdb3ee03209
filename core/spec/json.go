package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
)

// numberPrecision is what go-cty parses numbers with, so that both ways to a number agree.
const numberPrecision = 512

// jsonDepth is how deep brackets nest, without regard to whether data is valid.
func jsonDepth(data []byte) int {
	depth, deepest, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// canonicalJSON rewrites one JSON value so that equal values have equal bytes: keys sorted, numbers
// in plain decimal notation, no white space, no HTML escapes.
func canonicalJSON(data []byte) (json.RawMessage, error) {
	v, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	return encodeJSON(v)
}

// parseJSON reads exactly one JSON value, with its numbers in plain decimal notation.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	if jsonDepth(data) > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return plainNumbers(v)
}

func plainNumbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		f, _, err := big.ParseFloat(string(v), 10, numberPrecision, big.ToNearestEven)
		if err != nil || f.IsInf() {
			return nil, fmt.Errorf("%.20s: %w", v, errNumber)
		}
		return numberText(f)
	case map[string]any:
		for key := range v {
			if v[key], err = plainNumbers(v[key]); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = plainNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func numberText(f *big.Float) (json.Number, error) {
	if f.Sign() == 0 {
		return "0", nil // also minus zero
	}
	if f.IsInf() {
		return "", errInfinite
	}
	if f.MantExp(nil) > maxExponent || f.MantExp(nil) < -maxExponent {
		return "", errNumber
	}
	return json.Number(f.Text('f', -1)), nil
}

// encodeJSON writes a value with its map keys sorted and without HTML escapes.
func encodeJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// plainValue turns a known value into what encodeJSON takes: null attributes and elements of maps are
// left out, sets are lists in their own order.
func plainValue(v cty.Value) (any, error) {
	switch t := v.Type(); {
	case v.IsNull():
		return nil, nil
	case t == cty.String:
		return v.AsString(), nil
	case t == cty.Bool:
		return v.True(), nil
	case t == cty.Number:
		return numberText(v.AsBigFloat())
	case t.IsObjectType() || t.IsMapType():
		object := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			if element.IsNull() {
				continue
			}
			plain, err := plainValue(element)
			if err != nil {
				return nil, err
			}
			object[key.AsString()] = plain
		}
		return object, nil
	case v.CanIterateElements():
		list := make([]any, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			plain, err := plainValue(element)
			if err != nil {
				return nil, err
			}
			list = append(list, plain)
		}
		return list, nil
	}
	return nil, fmt.Errorf("a %s cannot be written as JSON", v.Type().FriendlyName())
}

// valueOf is the inverse: the cty value of what parseJSON returns, with tuples and objects.
func valueOf(v any) (cty.Value, error) {
	switch v := v.(type) {
	case nil:
		return cty.NullVal(cty.DynamicPseudoType), nil
	case string:
		return cty.StringVal(v), nil
	case bool:
		return cty.BoolVal(v), nil
	case json.Number:
		return cty.ParseNumberVal(string(v))
	case []any:
		elements := make([]cty.Value, len(v))
		for i := range v {
			var err error
			if elements[i], err = valueOf(v[i]); err != nil {
				return cty.NilVal, err
			}
		}
		return cty.TupleVal(elements), nil
	case map[string]any:
		attributes := make(map[string]cty.Value, len(v))
		for key := range v {
			element, err := valueOf(v[key])
			if err != nil {
				return cty.NilVal, err
			}
			attributes[key] = element
		}
		return cty.ObjectVal(attributes), nil
	}
	return cty.NilVal, fmt.Errorf("%T is no JSON value", v)
}
