package api

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/refusal"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/token"
	"github.com/instarhq/instar/core/state"
)

// request is what is known of a request besides its caller.
type request struct {
	source    string // where refusals are counted
	operation string // its id, or the pattern of a handler that is no operation
}

type requestKey struct{}

func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// access is in front of every handler: it finds out who calls, and lets the request through only if the
// table says so. The listener may have put a caller into the request's context; a token wins over that.
func (s *server) access(mux *http.ServeMux, next http.Handler, operations map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		w, answered := s.observed(w, cmp.Or(operations[pattern], "unknown"))
		defer answered()
		if pattern == "/" || strings.HasPrefix(pattern, "GET /openapi") {
			mux.ServeHTTP(w, r) // what does not exist, and what is in the repository anyway
			return
		}
		operation, ok := operations[pattern]
		if !ok {
			operation = pattern
		}
		caller, err := s.authenticate(r)
		info := request{source: refusal.Source(r.RemoteAddr), operation: operation}
		if strings.HasPrefix(caller.Principal, "local:") || caller.Via != "" {
			info.source = caller.Principal // a unix socket and a member have no address of their own
		}
		ctx := context.WithValue(identity.WithCaller(r.Context(), caller), requestKey{}, info)
		if rule := rules[operation]; err == nil || !rule.public {
			if err == nil {
				err = permit(caller, operation, rule)
			}
			if err != nil {
				if r.ContentLength != 0 && r.ProtoMajor == 1 {
					w.Header().Set("Connection", "close") // else the server would wait for a body that nobody wants
				}
				s.refuse(ctx, w, err)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// patterns maps the mux's patterns to the operations of the OpenAPI document.
func patterns(api huma.API) map[string]string {
	out := map[string]string{}
	for path, item := range api.OpenAPI().Paths {
		for method, operation := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if operation != nil {
				out[method+" "+path] = operation.OperationID
			}
		}
	}
	return out
}

// permit says whether a caller may call an operation, and what is missing if not.
func permit(c identity.Caller, operation string, r rule) error {
	switch {
	case r.allows(c.Role):
		return nil
	case c.Role != "":
		e := core.Errorf(core.CodeDenied, "%s has the role %s, which does not allow %s; %s", c.Principal, c.Role, operation, r.needs())
		if c.Via != "" && c.Role == core.AccessViewer {
			return e.WithHint("local users of the worker %s may only look: call a voter, or use a token (instar login)", c.Via)
		}
		return e.WithHint("an administrator can give you a token: instar token create NAME -role ROLE")
	case c.Principal != identity.Anonymous:
		return core.Errorf(core.CodeDenied, "%s may not do anything here", c.Principal).
			WithHint("root, the user that instard runs as and the members of the socket's group may; others use a token: instar login")
	}
	return core.Errorf(core.CodeDenied, "this takes a token or a client certificate, and none was shown").
		WithHint("instar login ADDRESS, or set INSTAR_TOKEN")
}

// authenticate finds out who calls. What was shown and is wrong is an error, even where nothing is needed.
func (s *server) authenticate(r *http.Request) (identity.Caller, error) {
	nobody := identity.Caller{Principal: identity.Anonymous}
	if shown := r.Header.Values("Authorization"); len(shown) > 0 {
		scheme, text, _ := strings.Cut(shown[0], " ")
		if len(shown) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return nobody, core.Errorf(core.CodeDenied, "the Authorization header is not one bearer token").
				WithHint("Authorization: Bearer instar_…")
		}
		return s.bearer(text)
	}
	if c := identity.CallerOf(r.Context()); c.Role != "" || c.Principal != identity.Anonymous {
		return c, nil
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return s.certificate(r.TLS.PeerCertificates[0])
	}
	return nobody, nil
}

// bearer knows a caller by an API token.
func (s *server) bearer(text string) (identity.Caller, error) {
	nobody := identity.Caller{Principal: identity.Anonymous}
	if s.State == nil {
		return nobody, core.Errorf(core.CodeDenied, "node %q knows no tokens before it is a member of a cluster", s.Node)
	}
	shown, err := token.ParseAPI(text)
	if err != nil {
		e, _ := core.AsError(err)
		return nobody, core.Errorf(core.CodeDenied, "%s", err.Error()).WithHint("%s", e.Hint)
	}
	stored, known := state.Tokens.Get(s.State.View(), shown.ID)
	if !shown.Secret.Matches(stored.Secret) || !known { // the same work and the same answer for both
		return nobody, core.Errorf(core.CodeDenied, "the API token is not known here; it may have been revoked").
			WithHint("is it a token of this cluster? An administrator sees them with: instar token list")
	}
	return s.holder(stored, "token")
}

// certificate knows a caller by a client certificate, which names the Token object that says what its
// holder may do.
func (s *server) certificate(leaf *x509.Certificate) (identity.Caller, error) {
	nobody := identity.Caller{Principal: identity.Anonymous}
	if s.VerifyClient == nil {
		return nobody, core.Errorf(core.CodeDenied, "client certificates are not taken here")
	}
	id, err := s.VerifyClient(leaf)
	if err != nil {
		return nobody, core.Errorf(core.CodeDenied, "client certificate: %w", err)
	}
	stored, known := state.Tokens.Get(s.State.View(), id)
	if !known || stored.Secret != "" {
		return nobody, core.Errorf(core.CodeDenied, "the client certificate has been revoked").
			WithHint("an administrator can issue another one: instar token create NAME -certificate")
	}
	return s.holder(stored, "client certificate")
}

// holder is the caller whom a Token object describes, unless it has expired.
func (s *server) holder(t core.Token, what string) (identity.Caller, error) {
	if !t.Expires.IsZero() && !s.Now().Before(t.Expires) {
		return identity.Caller{Principal: identity.Anonymous}, core.Errorf(core.CodeDenied, "the %s of %s expired on %s",
			what, t.Principal, t.Expires.Format(time.RFC3339)).WithHint("an administrator can issue another one: instar token create")
	}
	return identity.Caller{Principal: t.Principal, Role: t.Role, Services: t.Services}, nil
}

// refused counts and logs a refusal. A source that is refused all the time is told so instead.
func (s *server) refused(ctx context.Context, err error) error {
	info := requestOf(ctx)
	wait, suppressed := s.refusals.Refused(info.source)
	if wait > 0 {
		e := core.Errorf(core.CodeLimited, "too many requests from %s were refused", info.source).
			WithHint("use the right token; requests that are allowed are not held up by this")
		e.RetryAfter = wait
		return e
	}
	s.log.Warn("refused", "principal", identity.Principal(ctx), "from", info.source, "operation", info.operation, "why", err, "not_logged_before", suppressed)
	return err
}
