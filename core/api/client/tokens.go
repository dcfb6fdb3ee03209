package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/instarhq/instar/core"
)

// Whoami is what the API knows of its caller.
type Whoami struct {
	Principal string          `json:"principal"`
	Role      core.AccessRole `json:"role"`
	Services  []string        `json:"services,omitempty"`
	Node      string          `json:"node"`
	Origin    string          `json:"origin"`
	CA        []string        `json:"ca,omitempty"`
}

// Whoami asks who the API takes the caller for.
func (c *Client) Whoami(ctx context.Context) (Whoami, error) {
	return get[Whoami](ctx, c, "/v1/whoami", nil)
}

// Token is a token, or a client certificate, without its secret.
type Token struct {
	ID          string          `json:"id"`
	Principal   string          `json:"principal"`
	Role        core.AccessRole `json:"role"`
	Services    []string        `json:"services,omitempty"`
	Created     time.Time       `json:"created"`
	CreatedBy   string          `json:"created_by"`
	Expires     time.Time       `json:"expires,omitzero"`
	Certificate bool            `json:"certificate,omitempty"`
}

// TokenCreated is a token that has just been made. Its text, or certificate, cannot be had again.
type TokenCreated struct {
	Token       Token        `json:"token"`
	Text        string       `json:"text,omitempty"`
	Certificate string       `json:"certificate,omitempty"`
	Receipt     core.Receipt `json:"receipt"`
}

// NewToken describes a token to be made.
type NewToken struct {
	Name     string          `json:"name"`
	Role     core.AccessRole `json:"role"`
	Services []string        `json:"services,omitempty"`
	Expires  core.Duration   `json:"expires,omitempty"` // from now; 0: never
	CSR      string          `json:"csr,omitempty"`     // PEM: issue a client certificate
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, w Write, t NewToken) (TokenCreated, error) {
	var out TokenCreated
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/tokens", body: t, write: &w}, &out)
	return out, err
}

// Tokens lists tokens.
func (c *Client) Tokens(ctx context.Context, l List) (core.Page[Token], error) {
	return get[core.Page[Token]](ctx, c, "/v1/tokens", l.query())
}

// RevokeToken makes a token worthless, by its id.
func (c *Client) RevokeToken(ctx context.Context, w Write, id string) (core.Applied, error) {
	return c.write(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), w, nil)
}
