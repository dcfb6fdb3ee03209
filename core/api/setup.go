package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
)

// SetupConfig is what a node that is no member of a cluster yet can be asked.
type SetupConfig struct {
	Node, Version string
	Waiting       func() string // what the node waits for, in a sentence
	// Init begins a cluster, Join becomes a member of one. Both return when it is so.
	Init func(ctx context.Context, name string) (core.Joined, error)
	Join func(ctx context.Context, token string) (core.Joined, error)
	// Restore begins a cluster anew from a snapshot file, or from one at an address.
	Restore func(ctx context.Context, meta core.Meta, file io.Reader, from string, rebuild bool) (core.Receipt, error)
	Logger  hclog.Logger
}

// NewSetup makes the handler of a node that has no state yet.
func NewSetup(config SetupConfig) http.Handler {
	s := newServer(Config{Node: config.Node, Version: config.Version, Logger: config.Logger})
	mux := http.NewServeMux()
	c := huma.DefaultConfig("instar", Version)
	c.CreateHooks = nil
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	useProblems()
	api := humago.New(mux, c)
	huma.Register(api, op(http.MethodGet, "/v1/health", "health", "Whether this node works"),
		func(context.Context, *struct{}) (*output[Health], error) {
			return &output[Health]{Body: Health{Live: true, Node: s.Node, Version: s.Version, Waiting: config.Waiting()}}, nil
		})
	s.registerProbes(api, config.Waiting)
	huma.Register(api, op(http.MethodPost, "/v1/cluster/init", "cluster-init", "Begin a cluster on this node"),
		func(ctx context.Context, in *initInput) (*joined, error) {
			out, err := config.Init(ctx, in.Body.Name)
			return setupAnswer(ctx, s, out, err)
		})
	huma.Register(api, op(http.MethodPost, "/v1/cluster/join", "cluster-join", "Make this node a member of a cluster"),
		func(ctx context.Context, in *joinInput) (*joined, error) {
			out, err := config.Join(ctx, in.Body.Token)
			return setupAnswer(ctx, s, out, err)
		})
	huma.Register(api, restoreOperation(), func(ctx context.Context, in *restoreInput) (*output[core.Receipt], error) {
		return receipt(ctx, s, func() (core.Receipt, error) {
			return config.Restore(ctx, s.meta(ctx, in.WriteInput, "snapshot.restore"), in.body, in.From, in.Rebuild)
		})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		p := &Problem{
			Type: "about:blank", Title: http.StatusText(http.StatusServiceUnavailable), Status: http.StatusServiceUnavailable,
			Code: core.CodeUnavailable, Detail: "node " + s.Node + " is not ready: it waits for " + config.Waiting(),
		}
		p.write(w)
	})
	return limit(s.access(mux, mux, patterns(api)))
}

func setupAnswer(ctx context.Context, s *server, out core.Joined, err error) (*joined, error) {
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &joined{Body: out}, nil
}
