package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
)

// Membership is what the API does with the members of the cluster.
type Membership interface {
	Init(ctx context.Context, meta core.Meta) (core.Joined, error)
	Status(ctx context.Context) (core.ClusterStatus, error)
	CreateToken(ctx context.Context, meta core.Meta, want core.JoinTokenRequest) (core.JoinTokenView, error)
	Tokens() []core.JoinToken
	RevokeToken(ctx context.Context, meta core.Meta, id string) (core.Receipt, error)
	Leave(ctx context.Context, meta core.Meta, drain bool) error
	Remove(ctx context.Context, meta core.Meta, node string, force bool) (core.Receipt, error)
}

type initInput struct {
	WriteInput
	Body struct {
		Name string `json:"name,omitempty" maxLength:"63" doc:"The new cluster's name; default: the configured one"`
	}
}

type joinInput struct {
	WriteInput
	Body struct {
		Token string `json:"token" maxLength:"4096" doc:"What instar cluster token create has printed"`
	}
}

type tokenInput struct {
	WriteInput
	Body core.JoinTokenRequest
}

type leaveInput struct {
	WriteInput
	Body struct {
		Drain bool `json:"drain,omitempty" doc:"Move the node's instances elsewhere first"`
	}
}

type removeInput struct {
	WriteInput
	Node  string `path:"node" maxLength:"63"`
	Force bool   `query:"force" doc:"Also a node that is there and answers"`
}

type joined struct{ Body core.Joined }

type tokenList struct {
	Body struct {
		Items []core.JoinToken `json:"items"`
	}
}

// registerCluster registers the verbs on members.
func (s *server) registerCluster(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/cluster/status", "cluster-status", "Who leads, who lags, what is at risk"),
		func(ctx context.Context, _ *struct{}) (*output[core.ClusterStatus], error) {
			return answer(ctx, s, func(m Membership) (core.ClusterStatus, error) { return m.Status(ctx) })
		})
	huma.Register(api, op(http.MethodPost, "/v1/cluster/init", "cluster-init", "Begin a cluster on this node"), s.clusterInit)
	huma.Register(api, op(http.MethodPost, "/v1/cluster/join", "cluster-join", "Make this node a member of a cluster"), s.clusterJoin)
	huma.Register(api, op(http.MethodGet, "/v1/cluster/tokens", "list-join-tokens", "Join tokens that can be used"),
		func(ctx context.Context, _ *struct{}) (*tokenList, error) {
			m, err := s.membership(ctx)
			if err != nil {
				return nil, err
			}
			out := &tokenList{}
			out.Body.Items = m.Tokens()
			return out, nil
		})
	huma.Register(api, op(http.MethodPost, "/v1/cluster/tokens", "create-join-token", "A token by which machines join; its text is shown once"),
		func(ctx context.Context, in *tokenInput) (*output[core.JoinTokenView], error) {
			return answer(ctx, s, func(m Membership) (core.JoinTokenView, error) {
				return m.CreateToken(ctx, s.meta(ctx, in.WriteInput, "join_token.create"), in.Body)
			})
		})
	huma.Register(api, op(http.MethodDelete, "/v1/cluster/tokens/{token}", "revoke-join-token", "Make a join token useless"),
		func(ctx context.Context, in *struct {
			WriteInput
			Token string `path:"token" maxLength:"64"`
		},
		) (*output[core.Applied], error) {
			return answer(ctx, s, func(m Membership) (core.Applied, error) {
				receipt, err := m.RevokeToken(ctx, s.meta(ctx, in.WriteInput, "join_token.revoke"), in.Token)
				return core.Applied{Receipt: receipt}, err
			})
		})
	huma.Register(api, op(http.MethodPost, "/v1/cluster/leave", "cluster-leave", "Make this node leave the cluster for good"),
		func(ctx context.Context, in *leaveInput) (*output[core.Applied], error) {
			return answer(ctx, s, func(m Membership) (core.Applied, error) {
				return core.Applied{}, m.Leave(ctx, s.meta(ctx, in.WriteInput, "cluster.leave"), in.Body.Drain)
			})
		})
	huma.Register(api, op(http.MethodDelete, "/v1/cluster/members/{node}", "remove-member", "Put a lost node out of the cluster"),
		func(ctx context.Context, in *removeInput) (*output[core.Applied], error) {
			return answer(ctx, s, func(m Membership) (core.Applied, error) {
				receipt, err := m.Remove(ctx, s.meta(ctx, in.WriteInput, "cluster.remove"), in.Node, in.Force)
				return core.Applied{Receipt: receipt}, err
			})
		})
}

// clusterInit makes a cluster of a node whose store is in use already.
func (s *server) clusterInit(ctx context.Context, in *initInput) (*joined, error) {
	m, err := s.membership(ctx)
	if err != nil {
		return nil, err
	}
	out, err := m.Init(ctx, s.meta(ctx, in.WriteInput, "cluster.init"))
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &joined{Body: out}, nil
}

// clusterJoin is for nodes that have no state yet; those answer with SetupHandler.
func (s *server) clusterJoin(ctx context.Context, _ *joinInput) (*joined, error) {
	return nil, s.problem(ctx, core.Errorf(core.CodeConflict, "node %q has a state of its own, or is a member already", s.Node).
		WithHint("a node joins with an empty data directory"))
}

func (s *server) membership(ctx context.Context) (Membership, error) {
	if s.Membership == nil {
		return nil, s.problem(ctx, core.Errorf(core.CodeUnsupported, "node %q is a cluster of its own", s.Node).
			WithHint("give instard a cluster block in its configuration: cluster { listen = \"10.0.0.1:4748\" }"))
	}
	return s.Membership, nil
}

func answer[T any](ctx context.Context, s *server, do func(Membership) (T, error)) (*output[T], error) {
	m, err := s.membership(ctx)
	if err != nil {
		return nil, err
	}
	value, err := do(m)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[T]{Body: value}, nil
}
