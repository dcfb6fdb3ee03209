package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// Health is the answer of /v1/health.
type Health struct {
	Live    bool   `json:"live"`
	Ready   bool   `json:"ready"` // the replica has caught up and the leader is known: writes are possible
	Node    string `json:"node"`
	Version string `json:"version"`
	Leader  string `json:"leader,omitempty"`
	Seq     uint64 `json:"seq"`
	Waiting string `json:"waiting,omitempty"` // why it is not ready
}

func (s *server) registerStatus(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/health", "health", "Whether this node works"),
		func(ctx context.Context, _ *struct{}) (*output[Health], error) {
			h := s.health()
			if identity.CallerOf(ctx).Role == "" { // a load balancer, or anybody: no details
				h = Health{Live: h.Live, Ready: h.Ready, Node: h.Node}
			}
			return &output[Health]{Body: h}, nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/status", "status", "The cluster in one screen"),
		func(context.Context, *struct{}) (*output[core.Status], error) {
			return &output[core.Status]{Body: s.status()}, nil
		})
}

func (s *server) health() Health {
	h := Health{Live: true, Node: s.Node, Version: s.Version, Leader: s.Leader(), Seq: s.State.View().Seq()}
	if s.Ready != nil {
		h.Waiting = s.Ready()
	}
	if h.Waiting == "" && h.Leader == "" {
		h.Waiting = "a leader"
	}
	h.Ready = h.Waiting == ""
	return h
}

func (s *server) status() core.Status {
	v := s.State.View()
	out := core.Status{
		Node: s.Node, Version: s.Version, Origin: s.Origin, Leader: s.Leader(), Seq: v.Seq(),
		Nodes: []core.Node{}, Services: []core.ServiceView{},
	}
	for _, n := range state.Nodes.All(v) {
		out.Nodes = append(out.Nodes, n)
	}
	for _, svc := range state.Services.All(v) {
		out.Services = append(out.Services, s.serviceView(v, svc))
	}
	return out
}
