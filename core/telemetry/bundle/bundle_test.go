package bundle_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/telemetry/bundle"
)

func TestRedactor(t *testing.T) {
	r := bundle.NewRedactor([]string{"hunter2secret", "hunter2", "short", "two\nlines of it", `with "quotes" and \`})
	for text, want := range map[string]string{
		"a hunter2secret b hunter2 c":                                     "a (masked) b (masked) c",
		"short stays":                                                     "short stays",
		"lines of it":                                                     "(masked)",
		`{"v":"with \"quotes\" and \\"}`:                                  `{"v":"(masked)"}`,
		"token instar_" + strings.Repeat("a2", 20):                        "token instar_(masked)",
		"join instarjoin_" + strings.Repeat("b7", 60) + " ok":             "join instarjoin_(masked) ok",
		"instar_store_request_duration_seconds_bucket 1":                  "instar_store_request_duration_seconds_bucket 1",
		"Authorization: Bearer abc.def-123":                               "Authorization: Bearer (masked)",
		"s3://key:s3cr3t@host/bucket":                                     "s3://key:(masked)@host/bucket",
		"https://host:8080/path":                                          "https://host:8080/path",
		"PRIVATE+KEY+n1+0badcafe+AbC/d=":                                  "(masked)",
		"-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----": "(masked)",
	} {
		if got := string(r.Bytes([]byte(text))); got != want {
			t.Errorf("%q\n got %q\nwant %q", text, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	schema := []core.Attribute{{Name: "host"}, {Name: "password", Sensitive: true}}
	config := json.RawMessage(`{"host":"h","password":{"a":["first","second"]},"unknown":"third"}`)
	if got := string(bundle.Values(config, schema)); got != `{"host":"h","password":"(masked)","unknown":"(masked)"}` {
		t.Error(got)
	}
	if got := strings.Join(bundle.Secrets(config, schema), " "); !strings.Contains(got, "first second") || !strings.Contains(got, "third") || strings.Contains(got, "h ") {
		t.Error(got)
	}
	if got := string(bundle.Values(config, nil)); strings.Contains(got, "first") || strings.Contains(got, `"h"`) {
		t.Errorf("without a schema: %s", got)
	}
	if got := string(bundle.Values(json.RawMessage(`"text"`), schema)); got != `"(masked)"` {
		t.Error(got)
	}
	// Two schemas of one driver: what one calls sensitive is.
	both := []core.Attribute{{Name: "password", Sensitive: true}, {Name: "password"}}
	if got := string(bundle.Values(json.RawMessage(`{"password":"x"}`), both)); got != `{"password":"(masked)"}` {
		t.Error(got)
	}
}

func TestSpec(t *testing.T) {
	s := core.Spec{
		Env: map[string]string{"PASSWORD": "hunter2"}, Compute: core.Compute{Driver: "x", Config: json.RawMessage(`{"a":"secret a"}`)},
		Routes: []core.RouteSpec{{Driver: "y", Config: json.RawMessage(`{"b":"secret b"}`)}},
	}
	unknown := func(core.DriverKind, string) ([]core.Attribute, bool) { return nil, false }
	data, err := json.Marshal(bundle.Spec(s, unknown))
	if err != nil || strings.Contains(string(data), "secret") || strings.Contains(string(data), "hunter2") || !strings.Contains(string(data), `"PASSWORD":"(masked)"`) {
		t.Errorf("%s, %v", data, err)
	}
	if s.Env["PASSWORD"] != "hunter2" || !strings.Contains(string(s.Routes[0].Config), "secret b") {
		t.Error("the original was changed")
	}
	if got := strings.Join(bundle.SpecSecrets(&s, unknown), ","); got != "hunter2,secret a,secret b" {
		t.Error(got)
	}
}
