package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/token"
	"github.com/instarhq/instar/core/state"
)

const (
	// certificateLifetime of a client certificate for which nobody has said how long it is valid.
	certificateLifetime = 30 * 24 * time.Hour
	// maxServices bounds what one token names.
	maxServices = 100
	// forgetAfter is for how long an expired token stays in the lists.
	forgetAfter = 7 * 24 * time.Hour
)

// TokenView is a token as the API shows it: everything but the digest of its secret.
type TokenView struct {
	ID          string          `json:"id"`
	Principal   string          `json:"principal"` // token:NAME, or cert:NAME for a client certificate
	Role        core.AccessRole `json:"role"`
	Services    []string        `json:"services,omitempty"`
	Created     time.Time       `json:"created"`
	CreatedBy   string          `json:"created_by"`
	Expires     time.Time       `json:"expires,omitzero"`
	Certificate bool            `json:"certificate,omitempty"` // shown as a client certificate
}

func tokenView(t core.Token) TokenView {
	return TokenView{
		ID: t.ID, Principal: t.Principal, Role: t.Role, Services: t.Services,
		Created: t.Created, CreatedBy: t.CreatedBy, Expires: t.Expires, Certificate: t.Secret == "",
	}
}

// TokenCreated is the answer to the creation of a token. Nothing in it can be had a second time.
type TokenCreated struct {
	Token TokenView `json:"token"`
	Text  string    `json:"text,omitempty" doc:"The token itself; shown once"`
	// Certificate answers a request that came with a CSR.
	Certificate string       `json:"certificate,omitempty" doc:"The client certificate, PEM"`
	Receipt     core.Receipt `json:"receipt"`
}

// Whoami is what the API knows of its caller.
type Whoami struct {
	Principal string          `json:"principal"`
	Role      core.AccessRole `json:"role"`
	Services  []string        `json:"services,omitempty"`
	Node      string          `json:"node"`         // that answers
	Origin    string          `json:"origin"`       // name/cluster-id/generation
	CA        []string        `json:"ca,omitempty"` // the cluster's CA certificates, PEM
}

type createTokenInput struct {
	WriteInput
	Body struct {
		Name     string          `json:"name" maxLength:"63" doc:"The principal will be token:NAME, or cert:NAME"`
		Role     core.AccessRole `json:"role" enum:"admin,operator,deployer,auditor,viewer"`
		Services []string        `json:"services,omitempty" doc:"Of a deployer: names of services, or beginnings that end with *"`
		Expires  core.Duration   `json:"expires,omitempty" doc:"From now; nothing: never, and 720h for a certificate"`
		CSR      string          `json:"csr,omitempty" maxLength:"16384" doc:"A certificate request, PEM: issue a client certificate instead of a secret"`
	}
}

func (s *server) registerTokens(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/whoami", "whoami", "Who is calling"),
		func(ctx context.Context, _ *struct{}) (*output[Whoami], error) {
			c := identity.CallerOf(ctx)
			cluster, _ := state.Clusters.Get(s.State.View(), core.ClusterObject)
			return &output[Whoami]{Body: Whoami{
				Principal: c.Principal, Role: c.Role, Services: c.Services, Node: s.Node, Origin: s.Origin, CA: cluster.CA,
			}}, nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/tokens", "list-tokens", "Tokens and client certificates, without their secrets"),
		func(_ context.Context, in *ListInput) (*pageOutput[TokenView], error) {
			v := s.State.View()
			every := func(core.Token) bool { return true }
			view := func(_ string, t core.Token) TokenView { return tokenView(t) }
			return page(*in, v.Seq(), collected(state.Tokens.All(v), every, view)), nil
		})
	huma.Register(api, op(http.MethodPost, "/v1/tokens", "create-token", "Make a token; its text is in the answer and nowhere else"), s.createToken)
	huma.Register(api, op(http.MethodDelete, "/v1/tokens/{token}", "revoke-token", "Make a token, or a client certificate, worthless at once"),
		func(ctx context.Context, in *struct {
			WriteInput
			Token string `path:"token" maxLength:"64" doc:"Its id"`
		},
		) (*applied, error) {
			receipt, err := s.State.Update(ctx, s.meta(ctx, in.WriteInput, "token.revoke"), func(tx *state.Tx) error {
				if _, err := state.Tokens.Find(tx, in.Token); err != nil {
					return err
				}
				state.Tokens.Delete(tx, in.Token)
				return nil
			})
			return s.applied(ctx, core.Applied{Receipt: receipt}, err)
		})
}

func (s *server) createToken(ctx context.Context, in *createTokenInput) (*output[TokenCreated], error) {
	t, text, err := s.newToken(ctx, in)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	out := TokenCreated{Text: text}
	if in.Body.CSR != "" {
		if out.Certificate, t.Expires, err = s.SignClient(ctx, []byte(in.Body.CSR), t.ID, t.Expires.Sub(t.Created)); err != nil {
			return nil, s.problem(ctx, err)
		}
	}
	s.creating.Lock() // two of one name must see each other
	defer s.creating.Unlock()
	out.Receipt, err = s.State.Update(ctx, s.meta(ctx, in.WriteInput, "token.create"), func(tx *state.Tx) error {
		for id, other := range state.Tokens.All(tx) {
			expired := !other.Expires.IsZero() && other.Expires.Before(t.Created)
			if other.Principal == t.Principal && !expired {
				return core.Errorf(core.CodeConflict, "there is a %s already", t.Principal).WithObject(core.KindToken, id).
					WithHint("choose another name, so that the audit log tells them apart; or revoke it: instar token revoke %s", in.Body.Name)
			}
			if expired && other.Expires.Before(t.Created.Add(-forgetAfter)) {
				state.Tokens.Delete(tx, id)
			}
		}
		state.Tokens.Put(tx, t.ID, t)
		return nil
	})
	if err == nil && out.Receipt.Replayed {
		err = core.Errorf(core.CodeConflict, "this request has made its token already, and told its secret in the answer to the first attempt").
			WithHint("if that was lost: revoke %s, and create it again", t.Principal)
	}
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	out.Token = tokenView(t)
	return &output[TokenCreated]{Body: out}, nil
}

// newToken checks a request and makes the object, and the token's text unless it is for a certificate.
func (s *server) newToken(ctx context.Context, in *createTokenInput) (core.Token, string, error) {
	b := &in.Body
	if err := core.CheckName("token", b.Name); err != nil {
		return core.Token{}, "", err
	}
	if err := checkServices(b.Role, b.Services); err != nil {
		return core.Token{}, "", err
	}
	if b.Expires < 0 {
		return core.Token{}, "", core.Errorf(core.CodeInvalid, "a token cannot expire before it begins: %s", b.Expires)
	}
	made, err := token.NewAPI()
	if err != nil {
		return core.Token{}, "", err
	}
	now := s.Now().UTC().Truncate(time.Second)
	t := core.Token{
		Format: core.Format, ID: made.ID, Principal: "token:" + b.Name, Role: b.Role, Services: b.Services,
		Secret: made.Secret.Digest(), Created: now, CreatedBy: identity.Principal(ctx),
	}
	if b.Expires > 0 {
		t.Expires = now.Add(b.Expires.Std())
	}
	if b.CSR == "" {
		return t, made.Text(), nil
	}
	if s.SignClient == nil {
		return core.Token{}, "", core.Errorf(core.CodeUnsupported, "node %q has no CA that could sign a certificate", s.Node).
			WithHint("instar cluster init makes one; without -certificate a token works on any node")
	}
	t.Principal, t.Secret = "cert:"+b.Name, ""
	if t.Expires.IsZero() {
		t.Expires = now.Add(certificateLifetime)
	}
	return t, "", nil
}

// checkServices demands services of a deployer, and of nobody else.
func checkServices(role core.AccessRole, services []string) error {
	if role != core.AccessDeployer {
		if len(services) > 0 {
			return core.Errorf(core.CodeInvalid, "the role %s is not limited to services", role).WithHint("only a deployer's token names services")
		}
		return nil
	}
	if len(services) == 0 || len(services) > maxServices {
		return core.Errorf(core.CodeInvalid, "a deployer's token names 1 to %d services, not %d", maxServices, len(services)).
			WithHint("-service NAME, or -service 'web-*' for all that begin so")
	}
	for _, name := range services {
		if name == "*" {
			return core.Errorf(core.CodeInvalid, "* names every service: that is an operator").WithHint("-role operator, or the beginning of a name: 'web-*'")
		}
		// The beginning of a name may end with a hyphen, which a name may not.
		if err := core.CheckName("service", strings.TrimSuffix(strings.TrimSuffix(name, "*"), "-")); err != nil {
			return err
		}
	}
	if sorted := slices.Sorted(slices.Values(services)); len(slices.Compact(sorted)) != len(services) {
		return core.Errorf(core.CodeInvalid, "a service is named twice")
	}
	return nil
}
