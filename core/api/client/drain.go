package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/instarhq/instar/core"
)

// DrainNode moves a node's instances elsewhere.
func (c *Client) DrainNode(ctx context.Context, w Write, node string) (core.Applied, error) {
	return c.write(ctx, http.MethodPost, drainPath(node), w, nil)
}

// UndrainNode lets a node take instances again.
func (c *Client) UndrainNode(ctx context.Context, w Write, node string) (core.Applied, error) {
	return c.write(ctx, http.MethodDelete, drainPath(node), w, nil)
}

// Drain tells how far the emptying of a node has come.
func (c *Client) Drain(ctx context.Context, node string) (core.DrainView, error) {
	return get[core.DrainView](ctx, c, drainPath(node), nil)
}

func drainPath(node string) string { return "/v1/nodes/" + url.PathEscape(node) + "/drain" }
