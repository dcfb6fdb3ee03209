package identity

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/instarhq/instar/core"
)

// Anonymous is the principal of a caller whom nothing identifies.
const Anonymous = "anonymous"

// Caller is who makes a request, and what the caller may do.
type Caller struct {
	Principal string          `json:"principal"`
	Role      core.AccessRole `json:"role"`               // empty: nothing at all
	Services  []string        `json:"services,omitempty"` // of a deployer, as in core.Token
	// Via is the member that has passed the request on and vouches for the caller; empty: the caller
	// speaks to this node.
	Via string `json:"via,omitempty"`
}

type callerKey struct{}

// WithCaller returns a context that carries a caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller that ctx carries, an anonymous one without a role if there is none.
func CallerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{Principal: Anonymous}
}

// WithPrincipal returns a context that carries a principal without a role.
func WithPrincipal(ctx context.Context, principal string) context.Context {
	return WithCaller(ctx, Caller{Principal: principal})
}

// Principal returns the principal that ctx carries, Anonymous if there is none.
func Principal(ctx context.Context) string { return CallerOf(ctx).Principal }

// vouchedHeader carries a Caller from one member to another, as JSON. It means something between members
// only: nothing but Vouched reads it, and nothing but the handler of instar-rpc/1 calls that.
const vouchedHeader = "Instar-Vouched"

// Vouch prepares the header of a request that this node passes on to another member. A token travels with
// the request and is judged there again; for everybody else this node vouches.
func Vouch(header http.Header, c Caller) error {
	header.Del(vouchedHeader)
	if header.Get("Authorization") != "" || c.Role == "" {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return core.Errorf(core.CodeInternal, "vouch for %s: %w", c.Principal, err)
	}
	header.Set(vouchedHeader, string(data))
	return nil
}

// Vouched returns a context with the caller whom another member vouches for in the header of a request
// that it has passed on. A voter is believed, since it has the CA's key anyway. A worker is believed that
// its local users may look: whoever is root on a worker is not the cluster's administrator.
func Vouched(ctx context.Context, header http.Header, node string, role core.Role) (context.Context, error) {
	text := header.Get(vouchedHeader)
	if text == "" {
		return ctx, nil
	}
	var c Caller
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Principal == "" {
		return ctx, core.Errorf(core.CodeInvalid, "node %q vouches for nobody who could be read: %q", node, text)
	}
	c.Via = node
	if strings.HasPrefix(c.Principal, "local:") {
		c.Principal += "@" + node // root there is somebody else than root here
	}
	if role != core.RoleVoter && c.Role != "" {
		c.Role, c.Services = core.AccessViewer, nil
	}
	return WithCaller(ctx, c), nil
}
