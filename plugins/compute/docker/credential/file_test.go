package credential_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/plugins/compute/docker/credential"
)

func TestFor(t *testing.T) {
	t.Parallel()
	alice := credential.Credential{Username: "alice", Password: "se:cret"} // "alice:se:cret" is YWxpY2U6c2U6Y3JldA==
	for _, test := range []struct {
		config, host string
		want         credential.Credential
		wrong        string // part of the error
	}{
		{`{"auths": {"registry.example:5000": {"auth": "YWxpY2U6c2U6Y3JldA=="}}}`, "registry.example:5000", alice, ""},
		{`{"auths": {"https://registry.example/v2/": {"auth": "YWxpY2U6c2U6Y3JldA=="}}}`, "registry.example", alice, ""},
		{`{"auths": {"https://index.docker.io/v1/": {"auth": "YWxpY2U6c2U6Y3JldA=="}}}`, credential.Hub, alice, ""},
		{`{"auths": {"docker.io": {"username": "alice", "password": "se:cret"}}}`, credential.Hub, alice, ""},
		{`{"auths": {"registry.example": {"identitytoken": "t"}}}`, "registry.example", credential.Credential{Token: "t"}, ""},
		{`{"auths": {"registry.example": {"auth": "YWxpY2U6c2U6Y3JldA=="}}}`, "registry.example:5000", credential.Credential{}, ""},
		{`{"auths": {"registry.example": {"auth": "YWxpY2U6c2U6Y3JldA=="}}}`, "evil.registry.example", credential.Credential{}, ""},
		{`{}`, "registry.example", credential.Credential{}, ""},
		{`{"auths": {"registry.example": {"auth": "not base64"}}}`, "registry.example", credential.Credential{}, "auths"},
		{`{"credHelpers": {"registry.example": "../../bin/sh"}}`, "registry.example", credential.Credential{}, "no name of a credential helper"},
		{`{"auths": "se:cret"`, "registry.example", credential.Credential{}, "no JSON object"},
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(test.config), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := credential.For(t.Context(), file, test.host)
		if got != test.want {
			t.Errorf("%s for %s: %+v, want %+v", test.config, test.host, got, test.want)
		}
		if (err != nil) != (test.wrong != "") || err != nil && (!strings.Contains(err.Error(), test.wrong) || strings.Contains(err.Error(), "se:cret")) {
			t.Errorf("%s for %s: error %v, want one with %q and nothing of a secret", test.config, test.host, err, test.wrong)
		}
	}
}
