package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/state"
)

// create makes a token as an administrator.
func (s *secured) create(admin, body string) (api.TokenCreated, answer) {
	s.t.Helper()
	a := s.call(s.client(nil), http.MethodPost, "/v1/tokens", "Bearer "+admin, body)
	var out api.TokenCreated
	if a.status == http.StatusOK {
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			s.t.Fatal(err)
		}
	}
	return out, a
}

func TestTokenLivesAndDies(t *testing.T) {
	s := newSecured(t)
	admin, _ := s.grant("boss", core.AccessAdmin, time.Time{})
	made, a := s.create(admin, `{"name":"ci","role":"deployer","services":["shop"],"expires":"1h"}`)
	if a.status != http.StatusOK || made.Token.Principal != "token:ci" || made.Token.CreatedBy != "token:boss" || made.Receipt.Seq == 0 {
		t.Fatalf("status %d, %s", a.status, a.body)
	}
	stored, err := state.Tokens.Find(s.state.View(), made.Token.ID)
	if err != nil || stored.Secret == "" || strings.Contains(fmt.Sprintf("%+v", stored), made.Text[10:40]) {
		t.Fatalf("stored is %+v, %v", stored, err)
	}
	c := s.client(nil)
	who := s.call(c, http.MethodGet, "/v1/whoami", "Bearer "+made.Text, "")
	if !strings.Contains(who.body, `"token:ci"`) || !strings.Contains(who.body, `"deployer"`) {
		t.Errorf("it is %s", who.body)
	}
	if list := s.call(c, http.MethodGet, "/v1/tokens", "Bearer "+admin, ""); strings.Contains(list.body, string(stored.Secret)) || !strings.Contains(list.body, made.Token.ID) {
		t.Errorf("the list is %s", list.body)
	}
	if _, a := s.create(admin, `{"name":"ci","role":"viewer"}`); a.status != http.StatusConflict {
		t.Errorf("a second one of the name: %d", a.status)
	}
	if a := s.call(c, http.MethodPost, "/v1/services/shop/scale", "Bearer "+made.Text, `{"count":2}`); a.status != http.StatusOK {
		t.Errorf("scale: %s", a.body)
	}
	if _, metas := s.ops.Calls(); metas[len(metas)-1].Principal != "token:ci" {
		t.Errorf("the log would say %+v", metas)
	}
	s.ahead.Store(int64(2 * time.Hour))
	if a := s.call(c, http.MethodGet, "/v1/status", "Bearer "+made.Text, ""); a.status != http.StatusUnauthorized {
		t.Errorf("after it has expired: %d", a.status)
	}
	again, a := s.create(admin, `{"name":"ci","role":"viewer"}`)
	if a.status != http.StatusOK {
		t.Fatalf("the name of an expired token: %s", a.body)
	}
	if a := s.call(c, http.MethodDelete, "/v1/tokens/"+again.Token.ID, "Bearer "+admin, ""); a.status != http.StatusOK {
		t.Fatalf("revoke: %s", a.body)
	}
	if a := s.call(c, http.MethodGet, "/v1/status", "Bearer "+again.Text, ""); a.status != http.StatusUnauthorized {
		t.Errorf("after it was revoked: %d", a.status)
	}
	if a := s.call(c, http.MethodDelete, "/v1/tokens/"+again.Token.ID, "Bearer "+admin, ""); a.status != http.StatusNotFound {
		t.Errorf("revoke again: %d", a.status)
	}
	s.ahead.Store(int64(30 * 24 * time.Hour))
	if _, a := s.create(admin, `{"name":"new","role":"viewer"}`); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	if _, there := state.Tokens.Get(s.state.View(), made.Token.ID); there {
		t.Error("a token that expired long ago is kept")
	}
}

func TestTokenRequestIsRefused(t *testing.T) {
	s := newSecured(t)
	admin, _ := s.grant("boss", core.AccessAdmin, time.Time{})
	for name, body := range map[string]string{
		"no name":               `{"name":"","role":"viewer"}`,
		"a name with a slash":   `{"name":"a/b","role":"viewer"}`,
		"no such role":          `{"name":"x","role":"root"}`,
		"a deployer of nothing": `{"name":"x","role":"deployer"}`,
		"a deployer of all":     `{"name":"x","role":"deployer","services":["*"]}`,
		"a pattern inside":      `{"name":"x","role":"deployer","services":["a*b"]}`,
		"twice the same":        `{"name":"x","role":"deployer","services":["a","a"]}`,
		"a viewer of services":  `{"name":"x","role":"viewer","services":["shop"]}`,
		"expired":               `{"name":"x","role":"viewer","expires":"-1h"}`,
		"no request":            `{"name":"x","role":"viewer","csr":"hello"}`,
		"an unknown member":     `{"name":"x","role":"viewer","secret":"sha256:00"}`,
	} {
		if _, a := s.create(admin, body); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d, %s", name, a.status, a.body)
		}
	}
}

func TestRequestIDMakesOneToken(t *testing.T) {
	s := newSecured(t)
	admin, _ := s.grant("boss", core.AccessAdmin, time.Time{})
	var statuses []int
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/tokens", strings.NewReader(`{"name":"ci","role":"viewer"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"Bearer " + admin}, "Content-Type": {"application/json"}, "Request-Id": {"once"}}
		resp, err := s.client(nil).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
	if statuses[0] != http.StatusOK || statuses[1] != http.StatusConflict {
		t.Errorf("statuses %v", statuses)
	}
}

// keypair makes a key and a request for it.
func keypair(t *testing.T) (key *ecdsa.PrivateKey, csr string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func pair(t *testing.T, key *ecdsa.PrivateKey, certificate string) *tls.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		t.Fatalf("no certificate: %q", certificate)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

func TestClientCertificates(t *testing.T) {
	s := newSecured(t)
	admin, _ := s.grant("boss", core.AccessAdmin, time.Time{})
	key, csr := keypair(t)
	body, err := json.Marshal(map[string]any{"name": "ops", "role": "operator", "csr": csr, "expires": "24h"})
	if err != nil {
		t.Fatal(err)
	}
	made, a := s.create(admin, string(body))
	if a.status != http.StatusOK || made.Text != "" || made.Token.Principal != "cert:ops" || !made.Token.Certificate {
		t.Fatalf("status %d, %s", a.status, a.body)
	}
	c := s.client(pair(t, key, made.Certificate))
	if who := s.call(c, http.MethodGet, "/v1/whoami", "", ""); !strings.Contains(who.body, `"cert:ops"`) || !strings.Contains(who.body, `"operator"`) {
		t.Errorf("it is %s", who.body)
	}
	// The object of a certificate is no token, whatever secret is shown.
	if text, _ := s.grant("other", core.AccessViewer, time.Time{}); s.call(c, http.MethodGet, "/v1/whoami", "Bearer "+text, "").body == "" {
		t.Error("a token beside a certificate is not taken")
	}

	id := made.Token.ID
	sign := func(authority *ca.CA, id string, at time.Time) *tls.Certificate {
		t.Helper()
		key, csr := keypair(t)
		issued, err := authority.SignClient([]byte(csr), id, at, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return pair(t, key, issued.PEM)
	}
	same, err := ca.New("prod", clusterID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, tokenID := s.grant("text", core.AccessAdmin, time.Time{})
	member, _ := s.keeper.API().GetCertificate(nil)
	bad := map[string]struct {
		certificate *tls.Certificate
		detail      string
	}{
		"forged":               {sign(same, id, time.Now()), "not signed by this cluster's CA"},
		"of nobody":            {sign(s.authority, "ffffffffffffffff", time.Now()), "has been revoked"},
		"of a token with text": {sign(s.authority, tokenID, time.Now()), "has been revoked"},
		"a node's":             {member, "nodes are no clients"},
	}
	for name, tt := range bad {
		if a := s.call(s.client(tt.certificate), http.MethodGet, "/v1/status", "", ""); a.status != http.StatusUnauthorized || !strings.Contains(a.Detail, tt.detail) {
			t.Errorf("%s: status %d, %s", name, a.status, a.body)
		}
	}
	s.ahead.Store(int64(25 * time.Hour))
	if a := s.call(c, http.MethodGet, "/v1/status", "", ""); a.status != http.StatusUnauthorized || !strings.Contains(a.Detail, "expired on") {
		t.Errorf("expired: status %d, %s", a.status, a.body)
	}
	s.ahead.Store(0)
	s.update(func(tx *state.Tx) { state.Tokens.Delete(tx, id) })
	if a := s.call(c, http.MethodGet, "/v1/status", "", ""); a.status != http.StatusUnauthorized || !strings.Contains(a.Detail, "has been revoked") {
		t.Errorf("revoked, on a connection that is open: status %d, %s", a.status, a.body)
	}
}
