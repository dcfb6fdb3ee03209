package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// Snapshots makes, keeps and checks snapshot files, and restores them.
type Snapshots interface {
	// Write makes a snapshot of this replica.
	Write(ctx context.Context, w io.Writer, withArtifacts bool) error
	Save(ctx context.Context, address string, withArtifacts bool) (core.SnapshotFile, core.Manifest, error)
	List(ctx context.Context, address string, all bool) ([]core.SnapshotFile, error)
	Prune(ctx context.Context, address string, keep int, keepFor time.Duration) ([]core.SnapshotFile, error)
	// Verify and Drill check the files' signatures against the keys that the cluster knows, and keys.
	Verify(ctx context.Context, address string, keys []string, deep bool) (core.SnapshotReport, error)
	Drill(ctx context.Context, address string, keys []string) (core.SnapshotReport, error)
	Schedule(ctx context.Context, meta core.Meta, schedule core.Schedule) (core.Receipt, error)
	Unschedule(ctx context.Context, meta core.Meta, name string) (core.Receipt, error)
	// Restore replaces the state of the cluster by that of a snapshot file, on the leader.
	Restore(ctx context.Context, meta core.Meta, file io.Reader, rebuild bool) (core.Receipt, error)
	// RestoreFrom is Restore of a file at an address.
	RestoreFrom(ctx context.Context, meta core.Meta, address string, rebuild bool) (core.Receipt, error)
}

type placeInput struct {
	To        string `json:"to" maxLength:"2048" doc:"A directory of the node, file:///…, s3://… or azblob://…"`
	Artifacts bool   `json:"artifacts,omitempty" doc:"With what revisions in use run"`
}

type pruneInput struct {
	WriteInput
	Body struct {
		In      string        `json:"in" maxLength:"2048"`
		Keep    int           `json:"keep,omitempty" minimum:"0" doc:"The newest so many"`
		KeepFor core.Duration `json:"keep_for,omitempty" doc:"Those that are not older"`
	}
}

type verifyInput struct {
	Body struct {
		File string   `json:"file" maxLength:"2048"`
		Keys []string `json:"keys,omitempty" doc:"Public keys to trust besides those of the cluster"`
		Deep bool     `json:"deep,omitempty" doc:"Restore it into a scratch directory"`
	}
}

type scheduleInput struct {
	WriteInput
	Name string `path:"name" maxLength:"63"`
	Body core.Schedule
}

type restoreInput struct {
	WriteInput
	From    string `query:"from" maxLength:"2048" doc:"Read the file from here; without, the request's body is the file"`
	Rebuild bool   `query:"rebuild" doc:"Approve the recovery as soon as every node has said what runs"`

	body io.Reader
}

// Resolve implements huma.Resolver: the body is read as it comes, however long it is.
func (in *restoreInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

func (s *server) registerSnapshots(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/snapshot", "download-snapshot", "A snapshot of now, as a file"), s.downloadSnapshot)
	huma.Register(api, op(http.MethodPost, "/v1/snapshots", "save-snapshot", "Save a snapshot of now to a directory or bucket"),
		func(ctx context.Context, in *struct {
			WriteInput
			Body placeInput
		},
		) (*output[core.SnapshotSaved], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (out core.SnapshotSaved, err error) {
				out.File, out.Manifest, err = p.Save(ctx, in.Body.To, in.Body.Artifacts)
				return out, err
			})
		})
	huma.Register(api, op(http.MethodGet, "/v1/snapshots", "list-snapshots", "Snapshots in a directory or bucket, newest first"),
		func(ctx context.Context, in *struct {
			In  string `query:"in" required:"true" maxLength:"2048"`
			All bool   `query:"all" doc:"Of other clusters, too"`
		},
		) (*output[core.SnapshotList], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (out core.SnapshotList, err error) {
				out.Items, err = p.List(ctx, in.In, in.All)
				return out, err
			})
		})
	huma.Register(api, op(http.MethodPost, "/v1/snapshots/prune", "prune-snapshots", "Delete old snapshots of this cluster"),
		func(ctx context.Context, in *pruneInput) (*output[core.SnapshotList], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (out core.SnapshotList, err error) {
				out.Items, err = p.Prune(ctx, in.Body.In, in.Body.Keep, in.Body.KeepFor.Std())
				return out, err
			})
		})
	huma.Register(api, op(http.MethodPost, "/v1/snapshots/verify", "verify-snapshot", "Check a snapshot file"),
		func(ctx context.Context, in *verifyInput) (*output[core.SnapshotReport], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (core.SnapshotReport, error) {
				return p.Verify(ctx, in.Body.File, in.Body.Keys, in.Body.Deep)
			})
		})
	huma.Register(api, op(http.MethodPost, "/v1/snapshots/drill", "drill", "Restore the newest snapshot into a scratch directory, and report"),
		func(ctx context.Context, in *struct {
			Body struct {
				In   string   `json:"in" maxLength:"2048"`
				Keys []string `json:"keys,omitempty"`
			}
		},
		) (*output[core.SnapshotReport], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (core.SnapshotReport, error) { return p.Drill(ctx, in.Body.In, in.Body.Keys) })
		})
	s.registerSchedules(api)
	huma.Register(api, restoreOperation(), s.restore)
}

func restoreOperation() huma.Operation {
	o := op(http.MethodPost, "/v1/restore", "restore", "Replace the state by that of a snapshot")
	o.MaxBodyBytes, o.BodyReadTimeout = -1, -1
	o.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/octet-stream": {
		Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"},
	}}}
	return o
}

func (s *server) registerSchedules(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/schedules", "list-schedules", "Snapshots that are made by themselves"),
		func(_ context.Context, in *ListInput) (*pageOutput[core.Schedule], error) {
			v := s.State.View()
			return page(*in, v.Seq(), state.Schedules.All(v)), nil
		})
	huma.Register(api, op(http.MethodPut, "/v1/schedules/{name}", "put-schedule", "Make snapshots by itself"),
		func(ctx context.Context, in *scheduleInput) (*output[core.Receipt], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (core.Receipt, error) {
				in.Body.Name = in.Name
				return p.Schedule(ctx, s.meta(ctx, in.WriteInput, "schedule.put"), in.Body)
			})
		})
	huma.Register(api, op(http.MethodDelete, "/v1/schedules/{name}", "delete-schedule", "Make no more of them; the files stay"),
		func(ctx context.Context, in *struct {
			WriteInput
			Name string `path:"name" maxLength:"63"`
		},
		) (*output[core.Receipt], error) {
			return withSnapshots(ctx, s, func(p Snapshots) (core.Receipt, error) {
				return p.Unschedule(ctx, s.meta(ctx, in.WriteInput, "schedule.delete"), in.Name)
			})
		})
}

func withSnapshots[T any](ctx context.Context, s *server, do func(Snapshots) (T, error)) (*output[T], error) {
	if s.Snapshots == nil {
		return nil, s.problem(ctx, core.Errorf(core.CodeUnsupported, "this node makes no snapshots"))
	}
	body, err := do(s.Snapshots)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[T]{Body: body}, nil
}

func (s *server) downloadSnapshot(ctx context.Context, in *struct {
	Artifacts bool `query:"artifacts"`
},
) (*huma.StreamResponse, error) {
	if s.Snapshots == nil {
		return nil, s.problem(ctx, core.Errorf(core.CodeUnsupported, "this node makes no snapshots"))
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/octet-stream")
		hctx.SetStatus(http.StatusOK)
		if err := s.Snapshots.Write(hctx.Context(), hctx.BodyWriter(), in.Artifacts); err != nil {
			// The status is sent: break the body off, so that the client cannot take it for a whole one.
			s.log.Error("a snapshot broke off", "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

func (s *server) restore(ctx context.Context, in *restoreInput) (*output[core.Receipt], error) {
	return withSnapshots(ctx, s, func(p Snapshots) (core.Receipt, error) {
		meta := s.meta(ctx, in.WriteInput, "snapshot.restore")
		if in.From != "" {
			return p.RestoreFrom(ctx, meta, in.From, in.Rebuild)
		}
		return p.Restore(ctx, meta, in.body, in.Rebuild)
	})
}
