package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// maxScan bounds how many records one filtered page looks at; the cursor goes on from there.
const maxScan = 20000

type listRecordsInput struct {
	Limit     int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Before    uint64    `query:"before" doc:"Only records before this one; 0: from the newest"`
	Principal string    `query:"principal" maxLength:"255"`
	Verb      string    `query:"verb" maxLength:"255" doc:"A verb, or its beginning up to a dot: service"`
	Object    string    `query:"object" maxLength:"300" doc:"kind/id that a record writes; kind alone for all of them"`
	Since     time.Time `query:"since"`
	Until     time.Time `query:"until"`
}

// RecordInput names a record.
type RecordInput struct {
	Seq uint64 `path:"seq" minimum:"1"`
}

// RecordView is a record with its bytes, so that its leaf hash can be computed by anybody.
type RecordView struct {
	core.Record
	Raw []byte `json:"raw"` // the committed command, verbatim
}

// Consistency is a consistency proof with the tree head that it leads to.
type Consistency struct {
	Head   core.TreeHead `json:"head"`
	Hashes []core.Hash   `json:"hashes"`
}

// Checkpoint is a signed tree head in the C2SP checkpoint format.
type Checkpoint struct {
	Head core.TreeHead `json:"head"`
	Note string        `json:"note"`
	Keys []string      `json:"keys"` // public keys of the node that signed
}

func (s *server) registerAudit(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/v1/audit/records", "list-records", "Records of the audit log, newest first"), s.listRecords)
	huma.Register(api, op(http.MethodGet, "/v1/audit/records/{seq}", "show-record", "One record, with its bytes"), s.showRecord)
	huma.Register(api, op(http.MethodGet, "/v1/audit/records/{seq}/proof", "prove-record", "Proof that a record is in the log"), s.proveRecord)
	huma.Register(api, op(http.MethodGet, "/v1/audit/consistency", "prove-consistency", "Proof that the log has only grown"), s.proveConsistency)
	huma.Register(api, op(http.MethodGet, "/v1/audit/head", "tree-head", "The tree head, now or when the log had size records"),
		func(ctx context.Context, in *struct {
			Size uint64 `query:"size"`
		},
		) (*output[core.TreeHead], error) {
			head, err := s.head(ctx, in.Size)
			if err != nil {
				return nil, s.problem(ctx, err)
			}
			return &output[core.TreeHead]{Body: head}, nil
		})
	huma.Register(api, op(http.MethodGet, "/v1/audit/checkpoint", "checkpoint", "The tree head, signed by this node"), s.checkpoint)
	huma.Register(api, op(http.MethodGet, "/v1/audit/export", "export", "The whole log in instar's export format, for offline verification"), s.export)
}

func (s *server) listRecords(ctx context.Context, in *listRecordsInput) (*pageOutput[core.Record], error) {
	head, err := s.Store.Head(ctx)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	out := &pageOutput[core.Record]{Body: core.Page[core.Record]{Items: []core.Record{}, Seq: head.Size}}
	next := head.Size
	if in.Before != 0 && in.Before-1 < next {
		next = in.Before - 1
	}
	for scanned := 0; next >= 1; next-- {
		if len(out.Body.Items) == in.Limit || scanned == maxScan {
			out.Body.Next = strconv.FormatUint(next+1, 10)
			break
		}
		rec, err := s.Store.Record(ctx, next)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		scanned++
		if !in.Since.IsZero() && rec.Txn.Meta.Time.Before(in.Since) {
			break // time never goes back in the log
		}
		if in.matches(&rec) {
			out.Body.Items = append(out.Body.Items, rec)
		}
	}
	return out, nil
}

func (in *listRecordsInput) matches(rec *core.Record) bool {
	m := &rec.Txn.Meta
	if in.Principal != "" && m.Principal != in.Principal {
		return false
	}
	if in.Verb != "" && m.Verb != in.Verb && !strings.HasPrefix(m.Verb, in.Verb+".") {
		return false
	}
	if !in.Until.IsZero() && m.Time.After(in.Until) {
		return false
	}
	if in.Object == "" {
		return true
	}
	kind, id, one := strings.Cut(in.Object, "/")
	for i := range rec.Txn.Ops {
		o := &rec.Txn.Ops[i]
		if string(o.Kind) == kind && (!one || o.ID == id) {
			return true
		}
	}
	return false
}

func (s *server) showRecord(ctx context.Context, in *RecordInput) (*output[RecordView], error) {
	rec, err := s.Store.Record(ctx, in.Seq)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[RecordView]{Body: RecordView{Record: rec, Raw: rec.Raw}}, nil
}

func (s *server) head(ctx context.Context, size uint64) (core.TreeHead, error) {
	if size == 0 {
		return s.Store.Head(ctx)
	}
	return s.Store.HeadAt(ctx, size)
}

func (s *server) proveRecord(ctx context.Context, in *RecordInput) (*output[audit.Proof], error) {
	proof, err := audit.Prove(ctx, s.Store, in.Seq, s.Signers...)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[audit.Proof]{Body: proof}, nil
}

func (s *server) proveConsistency(ctx context.Context, in *struct {
	First  uint64 `query:"first" minimum:"1" required:"true"`
	Second uint64 `query:"second" doc:"0: the present size"`
},
) (*output[Consistency], error) {
	head, err := s.head(ctx, in.Second)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	hashes, err := s.Store.ConsistencyProof(ctx, in.First, head.Size)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[Consistency]{Body: Consistency{Head: head, Hashes: hashes}}, nil
}

func (s *server) checkpoint(ctx context.Context, _ *struct{}) (*output[Checkpoint], error) {
	head, err := s.Store.Head(ctx)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	signed, err := audit.SignCheckpoint(head, s.Signers...)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &output[Checkpoint]{Body: Checkpoint{Head: head, Note: signed, Keys: s.Keys}}, nil
}

func (s *server) export(context.Context, *struct{}) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/octet-stream")
		hctx.SetStatus(http.StatusOK)
		if _, err := audit.Export(hctx.Context(), hctx.BodyWriter(), s.Store, s.Signers...); err != nil {
			// The status is sent: break the body off, so that the client cannot take it for a whole one.
			s.log.Error("audit export broke off", "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}
