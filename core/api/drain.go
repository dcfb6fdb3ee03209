package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
)

// NodeInput names a node.
type NodeInput struct {
	Node string `path:"node" maxLength:"63"`
}

func (s *server) registerDrain(api huma.API) {
	type write struct {
		WriteInput
		NodeInput
	}
	huma.Register(api, op(http.MethodPost, "/v1/nodes/{node}/drain", "drain-node", "Move a node's instances elsewhere, and place nothing new on it"),
		func(ctx context.Context, in *write) (*applied, error) {
			a, err := s.Operations.DrainNode(ctx, s.meta(ctx, in.WriteInput, "node.drain"), in.Node, false)
			return s.applied(ctx, a, err)
		})
	huma.Register(api, op(http.MethodDelete, "/v1/nodes/{node}/drain", "undrain-node", "Let a node take instances again"),
		func(ctx context.Context, in *write) (*applied, error) {
			a, err := s.Operations.DrainNode(ctx, s.meta(ctx, in.WriteInput, "node.undrain"), in.Node, true)
			return s.applied(ctx, a, err)
		})
	huma.Register(api, op(http.MethodGet, "/v1/nodes/{node}/drain", "show-drain", "How far the emptying of a node has come"),
		func(ctx context.Context, in *NodeInput) (*output[core.DrainView], error) {
			view, err := s.Drained(s.State.View(), in.Node)
			if err != nil {
				return nil, s.problem(ctx, err)
			}
			return &output[core.DrainView]{Body: view}, nil
		})
}
