package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/instarhq/instar/core"
)

// ClusterInit begins a cluster on the node that is asked, under a name; empty: the configured one.
func (c *Client) ClusterInit(ctx context.Context, w Write, name string) (core.Joined, error) {
	body := map[string]any{}
	if name != "" {
		body["name"] = name
	}
	return post[core.Joined](ctx, c, http.MethodPost, "/v1/cluster/init", w, body)
}

// ClusterJoin makes the node that is asked a member of a cluster.
func (c *Client) ClusterJoin(ctx context.Context, w Write, token string) (core.Joined, error) {
	return post[core.Joined](ctx, c, http.MethodPost, "/v1/cluster/join", w, map[string]any{"token": token})
}

// ClusterStatus tells who leads, who lags and what is at risk.
func (c *Client) ClusterStatus(ctx context.Context) (core.ClusterStatus, error) {
	return get[core.ClusterStatus](ctx, c, "/v1/cluster/status", nil)
}

// CreateJoinToken makes a token by which machines join.
func (c *Client) CreateJoinToken(ctx context.Context, w Write, want core.JoinTokenRequest) (core.JoinTokenView, error) {
	return post[core.JoinTokenView](ctx, c, http.MethodPost, "/v1/cluster/tokens", w, want)
}

// JoinTokens lists the join tokens that can be used.
func (c *Client) JoinTokens(ctx context.Context) ([]core.JoinToken, error) {
	out, err := get[struct {
		Items []core.JoinToken `json:"items"`
	}](ctx, c, "/v1/cluster/tokens", nil)
	return out.Items, err
}

// RevokeJoinToken makes a join token useless.
func (c *Client) RevokeJoinToken(ctx context.Context, w Write, id string) (core.Applied, error) {
	return c.write(ctx, http.MethodDelete, "/v1/cluster/tokens/"+url.PathEscape(id), w, nil)
}

// ClusterLeave makes the node that is asked leave its cluster for good.
func (c *Client) ClusterLeave(ctx context.Context, w Write, drain bool) (core.Applied, error) {
	return c.write(ctx, http.MethodPost, "/v1/cluster/leave", w, map[string]any{"drain": drain})
}

// RemoveMember puts a lost node out of the cluster; with force also one that answers.
func (c *Client) RemoveMember(ctx context.Context, w Write, node string, force bool) (core.Applied, error) {
	var out core.Applied
	err := c.do(ctx, call{
		method: http.MethodDelete, path: "/v1/cluster/members/" + url.PathEscape(node),
		query: url.Values{"force": {strconv.FormatBool(force)}}, write: &w,
	}, &out)
	return out, err
}

// NodeViews lists nodes with their membership and liveness.
func (c *Client) NodeViews(ctx context.Context, l List) (core.Page[core.NodeView], error) {
	return get[core.Page[core.NodeView]](ctx, c, "/v1/cluster/nodes", l.query())
}

// NodeView reads one node.
func (c *Client) NodeView(ctx context.Context, name string) (core.NodeView, error) {
	return get[core.NodeView](ctx, c, "/v1/cluster/nodes/"+url.PathEscape(name), nil)
}

func post[T any](ctx context.Context, c *Client, method, path string, w Write, body any) (T, error) {
	var out T
	err := c.do(ctx, call{method: method, path: path, body: body, write: &w}, &out)
	return out, err
}
