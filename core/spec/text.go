package spec

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agext/levenshtein"
)

// suggest gives ` Did you mean "web"?` if one of the known names is close to the given one.
func suggest(given string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := levenshtein.Distance(given, k, nil); d < distance && d < utf8.RuneCountInString(k) {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ` Did you mean "` + best + `"?`
}

// stop ends text with a full stop.
func stop(text string) string {
	if text == "" || strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") || strings.HasSuffix(text, "!") {
		return text
	}
	return text + "."
}

// sentence begins text with a capital letter and ends it with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	r, size := utf8.DecodeRuneInString(text)
	return stop(string(unicode.ToUpper(r)) + text[size:])
}
