package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
	"github.com/instarhq/instar/core/state"
)

// ServiceInput names a service.
type ServiceInput struct {
	Service string `path:"service" maxLength:"63"`
}

// RevisionInput names a revision.
type RevisionInput struct {
	ServiceInput
	Number int `path:"number" minimum:"1"`
}

type diffInput struct {
	ServiceInput
	From int `query:"from" minimum:"0" doc:"A revision number; 0: the one before to"`
	To   int `query:"to" minimum:"0" doc:"A revision number; 0: the wanted one"`
}

// RevisionDiff is the answer of a comparison of two revisions.
type RevisionDiff struct {
	Service string      `json:"service"`
	From    int         `json:"from"`
	To      int         `json:"to"`
	Changes []core.Diff `json:"changes"`
}

type rollbackInput struct {
	WriteInput
	ServiceInput
	Body struct {
		To int `json:"to,omitempty" minimum:"0" doc:"A revision number; 0: the one before"`
	}
}

type scaleInput struct {
	WriteInput
	ServiceInput
	Body struct {
		Count int `json:"count" minimum:"0" maximum:"100000"`
	}
}

type deleteInput struct {
	WriteInput
	ServiceInput
}

func (s *server) registerServices(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/services", "list-services", "Services with their state"), s.listServices)
	huma.Register(api, op(http.MethodGet, "/v1/services/{service}", "show-service", "One service with its state"), s.showService)
	huma.Register(api, op(http.MethodGet, "/v1/services/{service}/revisions", "list-revisions", "Revisions, newest first"), s.listRevisions)
	huma.Register(api, op(http.MethodGet, "/v1/services/{service}/revisions/{number}", "show-revision", "One revision"),
		func(ctx context.Context, in *struct {
			RevisionInput
			AtInput
		},
		) (*output[core.Revision], error) {
			return get(ctx, s, core.KindRevision, state.Revisions, core.RevisionID(in.Service, in.Number), in.At)
		})
	huma.Register(api, op(http.MethodGet, "/v1/services/{service}/diff", "diff-revisions", "What differs between two revisions"), s.diff)
	huma.Register(api, op(http.MethodPost, "/v1/services/{service}/rollback", "rollback-service", "Back to an earlier revision"),
		func(ctx context.Context, in *rollbackInput) (*applied, error) {
			a, err := s.Operations.Rollback(ctx, s.meta(ctx, in.WriteInput, "service.rollback"), in.Service, in.Body.To)
			return s.applied(ctx, a, err)
		})
	huma.Register(api, op(http.MethodPost, "/v1/services/{service}/scale", "scale-service", "Change the number of instances"),
		func(ctx context.Context, in *scaleInput) (*applied, error) {
			a, err := s.Operations.Scale(ctx, s.meta(ctx, in.WriteInput, "service.scale"), in.Service, in.Body.Count)
			return s.applied(ctx, a, err)
		})
	huma.Register(api, op(http.MethodDelete, "/v1/services/{service}", "delete-service", "Drain and remove a service"),
		func(ctx context.Context, in *deleteInput) (*applied, error) {
			a, err := s.Operations.Delete(ctx, s.meta(ctx, in.WriteInput, "service.delete"), in.Service)
			return s.applied(ctx, a, err)
		})
}

func (s *server) listServices(_ context.Context, in *ListInput) (*pageOutput[core.ServiceView], error) {
	v := s.State.View()
	all := func(yield func(string, core.ServiceView) bool) {
		for name, svc := range state.Services.All(v) {
			if !yield(name, s.serviceView(v, svc)) {
				return
			}
		}
	}
	return page(*in, v.Seq(), all), nil
}

func (s *server) showService(ctx context.Context, in *struct {
	ServiceInput
	AtInput
},
) (*output[core.ServiceView], error) {
	if in.At != 0 {
		stored, err := get(ctx, s, core.KindService, state.Services, in.Service, in.At)
		if err != nil {
			return nil, err
		}
		return &output[core.ServiceView]{Body: core.ServiceView{Service: stored.Body}}, nil
	}
	v := s.State.View()
	svc, err := state.Services.Find(v, in.Service)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[core.ServiceView]{Body: s.serviceView(v, svc)}, nil
}

func (s *server) listRevisions(ctx context.Context, in *ServiceInput) (*pageOutput[core.Revision], error) {
	v := s.State.View()
	if _, err := state.Services.Find(v, in.Service); err != nil {
		return nil, s.problem(ctx, err)
	}
	out := &pageOutput[core.Revision]{Body: core.Page[core.Revision]{Seq: v.Seq()}}
	out.Body.Items = newestFirst(state.Revisions.By(v, state.ByService, in.Service), func(r core.Revision) int { return r.Number })
	return out, nil
}

func (s *server) diff(ctx context.Context, in *diffInput) (*output[RevisionDiff], error) {
	v := s.State.View()
	svc, err := state.Services.Find(v, in.Service)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	to := in.To
	if to == 0 {
		to = svc.Revision
	}
	from := in.From
	if from == 0 {
		from = to - 1
	}
	newer, err := state.Revisions.Find(v, core.RevisionID(in.Service, to))
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var older core.Revision
	if from > 0 {
		if older, err = state.Revisions.Find(v, core.RevisionID(in.Service, from)); err != nil {
			return nil, s.problem(ctx, err)
		}
	}
	sensitive := spec.Sensitive(schemas{v}, &older.Spec, &newer.Spec)
	changes := spec.Diff(&older.Spec, &newer.Spec, sensitive)
	return &output[RevisionDiff]{Body: RevisionDiff{Service: in.Service, From: from, To: to, Changes: changes}}, nil
}

// schemas finds published driver descriptions in a view.
type schemas struct{ view *state.View }

// Driver implements spec.Schemas.
func (s schemas) Driver(kind core.DriverKind, name string) (core.Driver, bool) {
	for _, d := range state.Drivers.All(s.view) {
		if d.Kind == kind && d.Name == name {
			return d, true
		}
	}
	return core.Driver{}, false
}
