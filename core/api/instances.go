package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// InstanceInput names an instance.
type InstanceInput struct {
	Instance string `path:"instance" maxLength:"255"`
}

type listInstancesInput struct {
	ListInput
	Service  string `query:"service" maxLength:"63"`
	Node     string `query:"node" maxLength:"63"`
	Revision int    `query:"revision" minimum:"0" doc:"Only of this revision; 0: any"`
}

type logsInput struct {
	InstanceInput
	Follow bool `query:"follow"`
	Tail   int  `query:"tail" minimum:"0" maximum:"100000" doc:"Only the last n lines that exist; 0: all"`
}

func (s *server) registerInstances(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/instances", "list-instances", "Instances with what is seen of them"), s.listInstances)
	huma.Register(api, op(http.MethodGet, "/v1/instances/{instance}", "show-instance", "One instance"), s.showInstance)
	huma.Register(api, op(http.MethodPost, "/v1/instances/{instance}/replace", "replace-instance", "Replace an instance by a new one of its revision"),
		func(ctx context.Context, in *struct {
			WriteInput
			InstanceInput
		},
		) (*applied, error) {
			a, err := s.Operations.ReplaceInstance(ctx, s.meta(ctx, in.WriteInput, "instance.replace"), in.Instance)
			return s.applied(ctx, a, err)
		})
	logs := op(http.MethodGet, "/v1/instances/{instance}/logs", "instance-logs", "Output of an instance, one JSON object (LogLine) a line")
	huma.Register(api, logs, s.logs)
}

func instanceView(v *state.View) func(string, core.Instance) core.InstanceView {
	return func(id string, inst core.Instance) core.InstanceView {
		out := core.InstanceView{Instance: inst}
		if status, ok := state.InstanceStatuses.Get(v, id); ok {
			out.Status = &status
		}
		return out
	}
}

func (s *server) listInstances(_ context.Context, in *listInstancesInput) (*pageOutput[core.InstanceView], error) {
	v := s.State.View()
	all := state.Instances.All(v)
	if in.Service != "" {
		all = state.Instances.By(v, state.ByService, in.Service)
	}
	keep := func(i core.Instance) bool {
		return (in.Node == "" || i.Node == in.Node) && (in.Revision == 0 || i.Revision == in.Revision)
	}
	return page(in.ListInput, v.Seq(), collected(all, keep, instanceView(v))), nil
}

func (s *server) showInstance(ctx context.Context, in *struct {
	InstanceInput
	AtInput
},
) (*output[core.InstanceView], error) {
	inst, err := get(ctx, s, core.KindInstance, state.Instances, in.Instance, in.At)
	if err != nil {
		return nil, err
	}
	if in.At == 0 {
		v := s.State.View()
		return &output[core.InstanceView]{Body: instanceView(v)(in.Instance, inst.Body)}, nil
	}
	out := &output[core.InstanceView]{Body: core.InstanceView{Instance: inst.Body}}
	status, err := get(ctx, s, core.KindInstanceStatus, state.InstanceStatuses, in.Instance, in.At)
	if err == nil {
		out.Body.Status = &status.Body
	}
	return out, nil
}

// logs streams lines. The first line is awaited before the status is sent, so that an error of the
// driver is an error of the request.
func (s *server) logs(ctx context.Context, in *logsInput) (*huma.StreamResponse, error) {
	if s.Logs == nil {
		return nil, s.problem(ctx, core.Errorf(core.CodeUnavailable, "this node has no instances"))
	}
	if _, err := state.Instances.Find(s.State.View(), in.Instance); err != nil {
		return nil, s.problem(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		w := &lineWriter{ctx: hctx}
		err := s.Logs.Logs(hctx.Context(), in.Instance, in.Follow, in.Tail, w.line)
		w.finish(s, err)
	}}, nil
}

// lineWriter writes JSON lines and flushes each one.
type lineWriter struct {
	ctx     huma.Context
	started bool
	buf     bytes.Buffer
}

func (w *lineWriter) start() {
	if !w.started {
		w.started = true
		w.ctx.SetHeader("Content-Type", "application/jsonl")
		w.ctx.SetStatus(http.StatusOK)
	}
}

func (w *lineWriter) line(l core.LogLine) error {
	w.start()
	w.buf.Reset()
	if err := json.NewEncoder(&w.buf).Encode(l); err != nil {
		return err
	}
	if _, err := w.ctx.BodyWriter().Write(w.buf.Bytes()); err != nil {
		return err
	}
	if f, ok := w.ctx.BodyWriter().(http.Flusher); ok {
		f.Flush()
	}
	return nil
}

// finish answers with a problem if nothing was written yet; later an error can only end the stream.
func (w *lineWriter) finish(s *server, err error) {
	if w.started || err == nil {
		w.start()
		return
	}
	p := s.problem(w.ctx.Context(), err)
	var problem *Problem
	if !errors.As(p, &problem) {
		problem = &Problem{Type: "about:blank", Status: http.StatusServiceUnavailable, Code: core.CodeOf(err), Detail: p.Error()}
		problem.Title = http.StatusText(problem.Status)
	}
	w.ctx.SetHeader("Content-Type", problem.ContentType(""))
	w.ctx.SetStatus(problem.Status)
	_ = json.NewEncoder(w.ctx.BodyWriter()).Encode(problem) // the client is gone if this fails
}
