package bundle

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Masked stands where a secret was.
const Masked = "(masked)"

// shortest is the length from which on a secret is searched for in texts. Shorter ones would make them
// unreadable ("1", "true") and are masked in their known places only.
const shortest = 6

// shapes are what is a secret wherever it is: tokens, private keys, credentials of headers and of URLs.
var shapes = []struct {
	shape *regexp.Regexp
	with  string
}{
	{regexp.MustCompile(`\b(instar(?:join)?_)[a-z2-7]{20,}`), "${1}" + Masked},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`), Masked},
	{regexp.MustCompile(`PRIVATE\+KEY\+[A-Za-z0-9+/=.\-]+`), Masked},
	{regexp.MustCompile(`(?i)\b((?:bearer|basic) )[A-Za-z0-9+/=._~-]{8,}`), "${1}" + Masked},
	{regexp.MustCompile(`(://[^/\s:@"]*:)[^@/\s"]+@`), "${1}" + Masked + "@"},
}

// Redactor takes known secrets out of texts.
type Redactor struct{ replacer *strings.Replacer }

// NewRedactor makes one for the given secrets.
func NewRedactor(secrets []string) *Redactor {
	known := map[string]bool{}
	for _, s := range secrets {
		if len(s) < shortest {
			continue
		}
		// As it is, and as it is quoted in logs and in JSON.
		known[s], known[unquoted(strconv.Quote(s))] = true, true
		if data, err := json.Marshal(s); err == nil {
			known[unquoted(string(data))] = true
		}
		for line := range strings.Lines(s) { // logs break them up
			if line = strings.TrimSpace(line); len(line) >= shortest {
				known[line] = true
			}
		}
	}
	sorted := make([]string, 0, len(known))
	for s := range known {
		sorted = append(sorted, s)
	}
	// The longest first: a secret may begin with another one.
	slices.SortFunc(sorted, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(sorted))
	for _, s := range sorted {
		pairs = append(pairs, s, Masked)
	}
	return &Redactor{replacer: strings.NewReplacer(pairs...)}
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// Bytes gives a text without secrets.
func (r *Redactor) Bytes(text []byte) []byte {
	out := r.replacer.Replace(string(text))
	for _, s := range shapes {
		out = s.shape.ReplaceAllString(out, s.with)
	}
	return []byte(out)
}
