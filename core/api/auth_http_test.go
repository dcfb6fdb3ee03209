package api_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/api/apitest"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/identity/token"
	"github.com/instarhq/instar/core/state"
)

const clusterID = "0123456789abcdef"

// secured is the API behind TLS, as a member of a cluster serves it.
type secured struct {
	t         *testing.T
	authority *ca.CA
	keeper    *keeper.Keeper
	state     *state.State
	ops       *apitest.Operations
	url       string
	ahead     atomic.Int64 // how far the server's clock is ahead
	log       *lines
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{t: t, ops: &apitest.Operations{}, log: &lines{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	store := coretest.NewStore()
	s.state = state.New(store)
	running.Go(func() {
		if err := s.state.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("state: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	s.authority, s.keeper = newMember(t, "n1")
	now := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.keeper.Now = now
	handler := api.New(api.Config{
		State: s.state, Store: store, Operations: s.ops, Node: "n1", Version: "1", Origin: "prod/" + clusterID + "/1", Now: now,
		Leader:       func() string { return "n1" },
		VerifyClient: s.keeper.VerifyClient,
		SignClient: func(_ context.Context, csr []byte, token string, lifetime time.Duration) (string, time.Time, error) {
			issued, err := s.authority.SignClient(csr, token, time.Now(), lifetime)
			return issued.PEM, issued.NotAfter, err
		},
		Logger: hclog.New(&hclog.LoggerOptions{Output: s.log, Level: hclog.Warn}),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: s.keeper.API("h2", "http/1.1")}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	s.url = "https://" + l.Addr().String()
	return s
}

func newMember(t *testing.T, node string) (*ca.CA, *keeper.Keeper) {
	t.Helper()
	authority, err := ca.New("prod", clusterID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := keeper.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	csr, err := k.Request(node, nil)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.SignNode(csr, node, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Install(issued.PEM, []string{authority.PEM()}); err != nil {
		t.Fatal(err)
	}
	return authority, k
}

// grant stores a token and returns its text.
func (s *secured) grant(name string, role core.AccessRole, expires time.Time, services ...string) (text, id string) {
	s.t.Helper()
	made, err := token.NewAPI()
	if err != nil {
		s.t.Fatal(err)
	}
	s.update(func(tx *state.Tx) {
		state.Tokens.Put(tx, made.ID, core.Token{
			Format: 1, ID: made.ID, Principal: "token:" + name, Role: role, Services: services, Secret: made.Secret.Digest(), Expires: expires,
		})
	})
	return made.Text(), made.ID
}

func (s *secured) update(fn func(tx *state.Tx)) {
	s.t.Helper()
	meta := core.Meta{Principal: "test", Verb: "test.put"}
	if _, err := s.state.Update(context.Background(), meta, func(tx *state.Tx) error { fn(tx); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

// client is one caller: with a certificate, or with none.
func (s *secured) client(certificate *tls.Certificate) *http.Client {
	config := keeper.Pinned(s.authority.Digest(), nil)
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	transport := &http.Transport{DialTLSContext: (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 30 * time.Second}, Config: config}).DialContext}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   string
	api.Problem
}

func (s *secured) call(c *http.Client, method, path, authorization, body string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(data)}
	if method != http.MethodHead && resp.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(data, &a.Problem); err != nil {
			s.t.Fatal(err)
		}
	}
	return a
}

func TestWhoIsCalling(t *testing.T) {
	s := newSecured(t)
	good, _ := s.grant("ci", core.AccessViewer, time.Time{})
	expired, _ := s.grant("old", core.AccessAdmin, time.Now().Add(-time.Minute))
	revoked, id := s.grant("gone", core.AccessAdmin, time.Time{})
	s.update(func(tx *state.Tx) { state.Tokens.Delete(tx, id) })
	foreign, err := token.NewAPI()
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := token.ParseAPI(good) // the id is no secret
	if err != nil {
		t.Fatal(err)
	}
	guess := token.API{ID: stolen.ID, Secret: foreign.Secret}
	tests := map[string]struct {
		authorization string
		status        int
		detail        string
	}{
		"a token":               {"Bearer " + good, 200, ""},
		"in another case":       {"bearer " + good, 200, ""},
		"nothing":               {"", 401, "none was shown"},
		"expired":               {"Bearer " + expired, 401, "token:old expired on"},
		"revoked":               {"Bearer " + revoked, 401, "not known here"},
		"of another cluster":    {"Bearer " + foreign.Text(), 401, "not known here"},
		"with a guessed secret": {"Bearer " + guess.Text(), 401, "not known here"},
		"cut off":               {"Bearer " + good[:len(good)-5], 401, "incomplete or mistyped"},
		"a password":            {"Basic cm9vdDpyb290", 401, "not one bearer token"},
		"no scheme":             {good, 401, "not one bearer token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := s.call(s.client(nil), http.MethodGet, "/v1/status", tt.authorization, "")
			if a.status != tt.status || !strings.Contains(a.Detail, tt.detail) {
				t.Fatalf("status %d, %s", a.status, a.body)
			}
			if a.status == http.StatusUnauthorized && (a.header.Get("WWW-Authenticate") == "" || a.Code != core.CodeDenied || a.Hint == "") {
				t.Errorf("the refusal is %s, %v", a.body, a.header)
			}
		})
	}
	if logged := s.log.String(); strings.Contains(logged, strings.TrimPrefix(good, "instar_")[20:40]) {
		t.Error("a secret is in the log")
	}
}

func TestHealthTellsStrangersLittle(t *testing.T) {
	s := newSecured(t)
	text, _ := s.grant("ci", core.AccessViewer, time.Time{})
	var stranger, known api.Health
	for header, into := range map[string]*api.Health{"": &stranger, "Bearer " + text: &known, "Bearer instar_wrong": {}} {
		a := s.call(s.client(nil), http.MethodGet, "/v1/health", header, "")
		if a.status != http.StatusOK {
			t.Fatalf("status %d, %s", a.status, a.body)
		}
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			t.Fatal(err)
		}
	}
	if !stranger.Ready || stranger.Version != "" || stranger.Leader != "" || stranger.Seq != 0 || known.Version == "" || known.Leader != "n1" {
		t.Errorf("a stranger sees %+v, a viewer %+v", stranger, known)
	}
}

func TestUnknownPathsNeedNobody(t *testing.T) {
	s := newSecured(t)
	for path, want := range map[string]int{"/nowhere": 404, "/openapi.json": 200, "/v1/../v1/status": 401} {
		if a := s.call(s.client(nil), http.MethodGet, path, "", ""); a.status != want {
			t.Errorf("%s: status %d, want %d", path, a.status, want)
		}
	}
	if a := s.call(s.client(nil), http.MethodHead, "/v1/status", "", ""); a.status != http.StatusUnauthorized {
		t.Errorf("HEAD passes: %d", a.status)
	}
}

// set is the body of an apply; the services mount the config "site".
func set(t *testing.T, configs []string, services ...string) string {
	t.Helper()
	var s core.Set
	for _, name := range services {
		spec := core.Spec{Compute: core.Compute{Driver: "process"}}
		if configs != nil {
			spec.Mounts = []core.Mount{{Config: "site", Path: "x"}}
		}
		s.Services = append(s.Services, core.Declared{Name: name, Count: 1, Spec: spec})
	}
	for _, name := range configs {
		s.Configs = append(s.Configs, core.Config{Format: 1, Name: name, Data: []byte("x")})
	}
	data, err := json.Marshal(map[string]any{"set": s})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRolesOverTheWire(t *testing.T) {
	s := newSecured(t)
	s.update(func(tx *state.Tx) {
		state.Instances.Put(tx, "shop-a", core.Instance{Format: 1, ID: "shop-a", Service: "shop", Node: "n1"})
		state.Instances.Put(tx, "web-a", core.Instance{Format: 1, ID: "web-a", Service: "web-front", Node: "n1"})
	})
	calls := map[string]struct {
		method, path, body string
		allowed            string // the first letters of the roles
	}{
		"look":                        {"GET", "/v1/status", "", "aodAv"},
		"read the audit log":          {"GET", "/v1/audit/records", "", "aoA"},
		"export it":                   {"GET", "/v1/audit/export", "", "aoA"},
		"see the tokens":              {"GET", "/v1/tokens", "", "aA"},
		"scale an own service":        {"POST", "/v1/services/shop/scale", `{"count":2}`, "aod"},
		"scale one of a prefix":       {"POST", "/v1/services/web-front/scale", `{"count":2}`, "aod"},
		"scale another's":             {"POST", "/v1/services/bank/scale", `{"count":2}`, "ao"},
		"scale one that begins alike": {"POST", "/v1/services/shopping/scale", `{"count":2}`, "ao"},
		"apply":                       {"POST", "/v1/apply", set(t, nil, "shop"), "aod"},
		"apply another's":             {"POST", "/v1/apply", set(t, nil, "bank"), "ao"},
		"apply own and another's":     {"POST", "/v1/apply", set(t, nil, "shop", "bank"), "ao"},
		"apply with a config":         {"POST", "/v1/apply", set(t, []string{"site"}, "shop"), "aod"},
		"store another config":        {"POST", "/v1/apply", set(t, []string{"site", "bank"}, "shop"), "ao"},
		"roll back":                   {"POST", "/v1/services/shop/rollback", `{}`, "aod"},
		"roll back another's":         {"POST", "/v1/services/bank/rollback", `{}`, "ao"},
		"delete another's":            {"DELETE", "/v1/services/bank", "", "ao"},
		"abort":                       {"POST", "/v1/rollouts/shop/1/abort", "", "aod"},
		"abort another's":             {"POST", "/v1/rollouts/bank/1/abort", "", "ao"},
		"replace":                     {"POST", "/v1/instances/web-a/replace", "", "aod"},
		"make a token":                {"POST", "/v1/tokens", `{"name":"x","role":"admin"}`, "a"},
	}
	roles := map[string]core.AccessRole{"a": core.AccessAdmin, "o": core.AccessOperator, "d": core.AccessDeployer, "A": core.AccessAuditor, "v": core.AccessViewer}
	for letter, role := range roles {
		services := []string(nil)
		if role == core.AccessDeployer {
			services = []string{"shop", "web-*"}
		}
		text, _ := s.grant("p-"+strings.ToLower(string(role)), role, time.Time{}, services...)
		c := s.client(nil)
		for name, call := range calls {
			a := s.call(c, call.method, call.path, "Bearer "+text, call.body)
			refused := a.status == http.StatusForbidden || a.status == http.StatusTooManyRequests
			if want := !strings.Contains(call.allowed, letter); refused != want {
				t.Errorf("%s, %s: status %d, %s", role, name, a.status, a.body)
			}
			if !refused && a.status >= 300 && a.status != http.StatusNotFound {
				t.Errorf("%s, %s: status %d, %s", role, name, a.status, a.body)
			}
			if a.status == http.StatusForbidden && (a.Hint == "" || !strings.Contains(a.Detail, "token:p-")) {
				t.Errorf("%s, %s: the refusal says %s", role, name, a.body)
			}
		}
	}
}

func TestRefusalsAreLimitedAndHarmNobody(t *testing.T) {
	s := newSecured(t)
	good, _ := s.grant("ci", core.AccessViewer, time.Time{})
	c := s.client(nil)
	limited := 0
	for range 200 {
		a := s.call(c, http.MethodGet, "/v1/status", "Bearer instar_guess", "")
		if a.status == http.StatusTooManyRequests {
			limited++
			if a.Code != core.CodeLimited || a.header.Get("Retry-After") == "" || a.RetryAfter < 1 {
				t.Fatalf("the refusal is %s, %v", a.body, a.header)
			}
		}
	}
	if limited < 100 {
		t.Errorf("%d of 200 refusals are limited", limited)
	}
	if n := strings.Count(s.log.String(), "refused"); n > 100 {
		t.Errorf("%d lines are logged", n)
	}
	if a := s.call(c, http.MethodGet, "/v1/status", "Bearer "+good, ""); a.status != http.StatusOK {
		t.Errorf("a good token from the same address is answered %d", a.status)
	}
}

func TestCallersHeadersVouchForNobody(t *testing.T) {
	s := newSecured(t)
	header := http.Header{}
	if err := identity.Vouch(header, identity.Caller{Principal: "local:root", Role: core.AccessAdmin}); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/status", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := s.client(nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %s", resp.Status)
	}
}
