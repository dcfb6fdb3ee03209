package spec

import (
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// These functions can return far more than they are given, so the size of their result is charged
// before it is made.

func joinFunction(m *meter) function.Function {
	return guard(stdlib.JoinFunc, func(args []cty.Value) error {
		elements := int64(0)
		for _, list := range args[1:] {
			if list, _ = list.Unmark(); list.IsKnown() && !list.IsNull() {
				elements += int64(list.LengthInt())
			}
		}
		if m.spend(elements*int64(len(toText(args[0])))) != nil {
			return tooLong("the joined text is too long")
		}
		return nil
	})
}

func replaceFunction(m *meter) function.Function {
	return guard(stdlib.ReplaceFunc, func(args []cty.Value) error {
		text, old, replacement := toText(args[0]), toText(args[1]), toText(args[2])
		if m.spend(int64(strings.Count(text, old))*int64(len(replacement))) != nil {
			return tooLong("the replaced text is too long")
		}
		return nil
	})
}

// wideVerb finds a width or precision of four digits or more in a format string.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{4,}`)

func formatFunction(f function.Function, m *meter) function.Function {
	return guard(f, func(args []cty.Value) error {
		format := toText(args[0])
		if wideVerb.MatchString(format) {
			return function.NewArgErrorf(0, "a width or precision has at most three digits")
		}
		times := int64(1)
		for _, arg := range args[1:] {
			arg, _ = arg.Unmark()
			if arg.IsKnown() && !arg.IsNull() && (arg.Type().IsCollectionType() || arg.Type().IsTupleType()) {
				times = max(times, int64(arg.LengthInt()))
			}
		}
		// A verb may use any argument again ("%[1]s"), each at the price of all of them.
		size, err := m.size(cty.TupleVal(args))
		if err != nil {
			return err
		}
		verbs := int64(strings.Count(format, "%"))
		if m.spend(verbs*size) != nil || m.spend(times*(int64(len(format))+999*verbs)) != nil {
			return tooLong("the formatted text is too long")
		}
		return nil
	})
}
