package token_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/token"
)

func newAPI(t *testing.T) token.API {
	t.Helper()
	made, err := token.NewAPI()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAPITokenIsReadBack(t *testing.T) {
	made := newAPI(t)
	text := made.Text()
	// What secret scanners look for, as docs/security.md gives it.
	if !regexp.MustCompile(`^instar_[a-z2-7]{72}$`).MatchString(text) {
		t.Errorf("the text is %q", text)
	}
	for _, variant := range []string{text, "  " + text + "\n", strings.ToUpper(text)} {
		read, err := token.ParseAPI(variant)
		if err != nil || read != made {
			t.Errorf("%q reads as %+v, %v", variant, read.ID, err)
		}
	}
	read, err := token.ParseAPI(text)
	if err != nil || !read.Secret.Matches(made.Secret.Digest()) || read.Secret.Matches(newAPI(t).Secret.Digest()) {
		t.Errorf("the secret matches what it should not, or not what it should: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	made := newAPI(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got := fmt.Sprintf(verb, made.Secret); got != "(secret)" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if got := fmt.Sprintf("%+v", made); !strings.Contains(got, "(secret)") {
		t.Errorf("inside of a token it prints %s", got)
	}
}

func TestEveryMistypedTokenIsRecognised(t *testing.T) {
	made := newAPI(t)
	join := newJoin(t)
	joinText, err := join.Text()
	if err != nil {
		t.Fatal(err)
	}
	parse := map[string]func(string) error{
		made.Text(): func(s string) error { _, err := token.ParseAPI(s); return err },
		joinText:    func(s string) error { _, err := token.ParseJoin(s); return err },
	}
	for text, read := range parse {
		for i := range text {
			damaged := map[string]string{
				"cut off":  text[:i],
				"left out": text[:i] + text[i+1:],
				"mistyped": text[:i] + string(other(text[i])) + text[i+1:],
				"doubled":  text[:i] + text[i:i+1] + text[i:],
			}
			for how, bad := range damaged {
				if bad == text {
					continue
				}
				err := read(bad)
				if core.CodeOf(err) != core.CodeInvalid && core.CodeOf(err) != core.CodeUnsupported {
					t.Fatalf("%s at %d is read: %v", how, i, err)
				}
				if i > 20 && strings.Contains(err.Error(), bad[12:20]) {
					t.Fatalf("the error repeats the secret: %v", err)
				}
			}
		}
	}
}

func other(c byte) byte {
	if c == 'a' {
		return 'b'
	}
	return 'a'
}

func newJoin(t *testing.T) token.Join {
	t.Helper()
	id, err := token.NewID()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := token.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return token.Join{ID: id, Secret: secret, CA: core.DigestBytes([]byte("ca")), Addresses: []string{"10.0.0.1:4748", "[2001:db8::1]:4748", "n3.example:4748"}}
}

func TestJoinTokenIsReadBack(t *testing.T) {
	made := newJoin(t)
	text, err := made.Text()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^instarjoin_[a-z2-7]+$`).MatchString(text) || len(text) > 300 {
		t.Errorf("the text is %q", text)
	}
	read, err := token.ParseJoin(text + "\n")
	if err != nil || read.ID != made.ID || read.Secret != made.Secret || read.CA != made.CA || !slices.Equal(read.Addresses, made.Addresses) {
		t.Errorf("reads as %+v, %v", read, err)
	}
	if _, err := token.ParseAPI(text); err == nil || !strings.Contains(err.Error(), "no API token") {
		t.Errorf("a join token is read as an API token: %v", err)
	}
}

func TestJoinTokenIsRefused(t *testing.T) {
	tests := map[string]func(*token.Join){
		"no address":             func(j *token.Join) { j.Addresses = nil },
		"no port":                func(j *token.Join) { j.Addresses = []string{"10.0.0.1"} },
		"a comma in the address": func(j *token.Join) { j.Addresses = []string{"a,b:1"} },
		"too many addresses":     func(j *token.Join) { j.Addresses = slices.Repeat([]string{"a:1"}, 17) },
		"too long addresses":     func(j *token.Join) { j.Addresses = slices.Repeat([]string{strings.Repeat("a", 250) + ":1"}, 16) },
		"no digest":              func(j *token.Join) { j.CA = "" },
		"a short digest":         func(j *token.Join) { j.CA = "sha256:00" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			j := newJoin(t)
			change(&j)
			if text, err := j.Text(); core.CodeOf(err) != core.CodeInvalid {
				t.Errorf("made %q, %v", text, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	made, err := token.NewAPI()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(made.Text())
	f.Add("instarjoin_aaaa")
	f.Fuzz(func(t *testing.T, text string) {
		if read, err := token.ParseAPI(text); err == nil && read.Text() != strings.ToLower(strings.TrimSpace(text)) {
			t.Errorf("%q is read, but written as %q", text, read.Text())
		}
		if read, err := token.ParseJoin(text); err == nil {
			if again, err := read.Text(); err != nil || again != strings.ToLower(strings.TrimSpace(text)) {
				t.Errorf("%q is read, but written as %q, %v", text, again, err)
			}
		}
	})
}
