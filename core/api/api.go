// Package api serves instar's HTTP/JSON API: handlers around the typed state, the audit log and the
// operator's verbs. The OpenAPI 3.1 document at /openapi.json is generated from the handlers (huma).
//
// Conventions:
//
//   - Everything is under /v1. Answers are the nouns of package core, unchanged.
//   - Errors are RFC 9457 problems with a stable code, the object and a hint; problem.go has the one
//     mapping from codes to HTTP statuses.
//   - Lists page (limit, cursor) and tell the sequence number that they are as of. Single objects, and
//     lists of stored objects, can be read as of an older one with ?at=.
//   - Writes take a Request-Id header; repeating a write with the same id makes it happen once. They
//     answer with the receipt of the record.
//   - /v1/watch streams changes as server-sent events and resumes from a sequence number.
package api

//go:generate go test -run "TestOpenAPIDocument|TestAccessTableIsDocumented" . -update

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/refusal"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// Version is the version of the API; it changes only when a client of the old one would break.
const Version = "1"

// maxBody bounds a request's body, in bytes.
const maxBody = 8 << 20

// Store is what the API reads past the typed state: old versions and the audit log.
type Store interface {
	core.Reader
	core.Feed
	core.Log
}

// Operations are the operator's verbs.
type Operations interface {
	Plan(ctx context.Context, set core.Set) (core.Plan, error)
	Apply(ctx context.Context, meta core.Meta, set core.Set, expect map[string]uint64) (core.Applied, error)
	Rollback(ctx context.Context, meta core.Meta, service string, to int) (core.Applied, error)
	Scale(ctx context.Context, meta core.Meta, service string, count int) (core.Applied, error)
	Delete(ctx context.Context, meta core.Meta, service string) (core.Applied, error)
	Abort(ctx context.Context, meta core.Meta, rollout string) (core.Applied, error)
	ReplaceInstance(ctx context.Context, meta core.Meta, instance string) (core.Applied, error)
	DrainNode(ctx context.Context, meta core.Meta, node string, undo bool) (core.Applied, error)
	Checkpoints
}

// LogSource reads an instance's output.
type LogSource interface {
	// Logs yields lines, oldest first, and with follow goes on until ctx ends or the instance is gone.
	// tail bounds how many of the lines that exist already are given; 0: all.
	Logs(ctx context.Context, instance string, follow bool, tail int, line func(core.LogLine) error) error
}

// Config is what an API needs. State, Store and Operations are required.
type Config struct {
	Drained    func(*state.View, string) (core.DrainView, error) // how far the emptying of a node has come; nil: no node can be
	State      *state.State
	Store      Store
	Operations Operations
	Logs       LogSource
	Snapshots  Snapshots     // nil: none are made here
	Membership Membership    // nil: this node is a cluster of its own for ever
	Ready      func() string // empty: the replica has caught up; else what it waits for; nil: ready
	Signers    []note.Signer // sign checkpoints, proofs and exports
	Keys       []string      // the signers' public keys, as audit.NewKey makes them
	// VerifyClient checks a client certificate and gives the id of the Token object that it names; nil:
	// none are taken. See keeper.VerifyClient.
	VerifyClient func(*x509.Certificate) (string, error)
	// SignClient issues a client certificate for a Token object, if this node can; nil: it never can.
	SignClient func(ctx context.Context, csr []byte, token string, lifetime time.Duration) (pem string, expires time.Time, err error)
	// Forward wraps the handlers, behind authentication and authorization: it answers requests that are
	// the leader's by passing them on. nil: all are answered here.
	Forward  func(http.Handler) http.Handler
	Observer Observer                                     // nil: nobody counts requests
	Debug    func(ctx context.Context, w io.Writer) error // writes the diagnostics bundle; nil: there is none
	Metrics  http.Handler                                 // answers /metrics; nil: there are none
	Now      func() time.Time                             // nil: time.Now
	Leader   func() string                                // the leader's node name, or empty
	Waiting  func(*state.View, string) string             // what a service waits for, in a sentence; may be nil
	Node     string
	Version  string // of instard
	Origin   string // name/cluster-id/generation of the log
	Logger   hclog.Logger
}

type server struct {
	Config
	log      hclog.Logger
	refusals *refusal.Limiter
	creating sync.Mutex // held while a token is made
}

// Principal is who is calling, for the audit log.
func (s *server) Principal(ctx context.Context) string { return identity.Principal(ctx) }

// New makes the handler of the whole API. Who calls is known by what the request shows (a token, a
// client certificate), or by the caller that the listener has put into its context (identity.WithCaller).
func New(config Config) http.Handler {
	s, mux, api := build(config)
	var next http.Handler = mux
	if config.Forward != nil {
		next = config.Forward(mux)
	}
	return limit(s.access(mux, next, patterns(api)))
}

// OpenAPI returns the generated document as JSON, without a running daemon.
func OpenAPI() ([]byte, error) {
	_, _, api := build(Config{Version: Version})
	return api.OpenAPI().MarshalJSON()
}

func build(config Config) (*server, *http.ServeMux, huma.API) {
	s := newServer(config)
	mux := http.NewServeMux()
	c := huma.DefaultConfig("instar", Version)
	c.CreateHooks = nil // no $schema members in answers: they are the core's nouns, unchanged
	c.DocsPath, c.SchemasPath = "", ""
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "The API of instard. Errors are RFC 9457 problems."
	useProblems()
	mux.HandleFunc("/", s.unknown)
	api := humago.New(mux, c)
	s.registerApply(api)
	s.registerServices(api)
	s.registerRollouts(api)
	s.registerInstances(api)
	s.registerRoutes(api)
	s.registerNodes(api)
	s.registerDrain(api)
	s.registerAudit(api)
	s.registerStatus(api)
	s.registerTokens(api)
	s.registerCluster(api)
	s.registerCheckpoints(api)
	s.registerSnapshots(api)
	s.registerRecovery(api)
	s.registerWatch(api)
	s.registerEvents(api)
	s.registerDebug(api)
	s.registerMetrics(api)
	s.registerProbes(api, func() string { return s.health().Waiting })
	return s, mux, api
}

func newServer(config Config) *server {
	s := &server{Config: withDefaults(config)}
	s.log = s.Logger.Named("api")
	s.refusals = refusal.New(s.Now)
	s.Operations = guard{s.Operations, s.State}
	return s
}

// schemaName keeps types of one name apart: those of core have it, audit's are called AuditReceipt.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if strings.HasSuffix(t.PkgPath(), "/core/audit") {
		return "Audit" + name
	}
	if t == reflect.TypeFor[core.Checkpoint]() {
		return "StateCheckpoint" // Checkpoint is the signed tree head
	}
	return name
}

func withDefaults(c Config) Config {
	if c.Leader == nil {
		c.Leader = func() string { return "" }
	}
	if c.Waiting == nil {
		c.Waiting = func(*state.View, string) string { return "" }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Drained == nil {
		c.Drained = func(*state.View, string) (core.DrainView, error) {
			return core.DrainView{}, core.Errorf(core.CodeUnsupported, "this API does not empty nodes")
		}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// limit bounds bodies before anything reads them.
func limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/restore" { // a snapshot is as large as it is, and read as it comes
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

// op describes an operation; every one names the problem statuses that it can answer with.
func op(method, path, id, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, MaxBodyBytes: maxBody,
		Errors: []int{400, 401, 403, 404, 409, 413, 422, 429, 500, 503},
	}
}
