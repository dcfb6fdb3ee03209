package api

import (
	"context"
	"encoding/json"
	"iter"
	"sort"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// WriteInput is what every write takes.
type WriteInput struct {
	RequestID string `header:"Request-Id" maxLength:"128" doc:"Makes a repeated write happen once"`
	Reason    string `header:"Instar-Reason" maxLength:"1024" doc:"Why; kept in the audit log"`
}

func (s *server) meta(ctx context.Context, in WriteInput, verb string) core.Meta {
	return core.Meta{Principal: s.Principal(ctx), Verb: verb, Reason: in.Reason, RequestID: in.RequestID}
}

// applied is the answer to every write.
type applied struct{ Body core.Applied }

func (s *server) applied(ctx context.Context, a core.Applied, err error) (*applied, error) {
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return &applied{Body: a}, nil
}

// AtInput selects the version of an object.
type AtInput struct {
	At uint64 `query:"at" doc:"Read as of this sequence number; 0: now"`
}

// ListInput is what every list takes.
type ListInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next of the page before"`
}

type output[T any] struct{ Body T }

type pageOutput[T any] struct{ Body core.Page[T] }

// get reads one stored object, now or as of a sequence number.
func get[T any](ctx context.Context, s *server, kind core.Kind, table state.Table[T], id string, at uint64) (*output[T], error) {
	if at == 0 {
		v, err := table.Find(s.State.View(), id)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &output[T]{Body: v}, nil
	}
	object, err := s.Store.Get(ctx, kind, id, at)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out output[T]
	if err := json.Unmarshal(object.Value, &out.Body); err != nil {
		return nil, s.problem(ctx, core.Errorf(core.CodeCorrupt, "%s %q as of %d: %w", kind, id, at, err))
	}
	return &out, nil
}

// page cuts one page out of ids and values that come ordered by id.
func page[T any](in ListInput, seq uint64, all iter.Seq2[string, T]) *pageOutput[T] {
	out := &pageOutput[T]{Body: core.Page[T]{Items: []T{}, Seq: seq}}
	last := ""
	for id, v := range all {
		if in.Cursor != "" && id <= in.Cursor {
			continue
		}
		if len(out.Body.Items) == in.Limit {
			out.Body.Next = last
			break
		}
		out.Body.Items = append(out.Body.Items, v)
		last = id
	}
	return out
}

// collected gives a filtered and mapped table, ordered by id.
func collected[T, V any](all iter.Seq2[string, T], keep func(T) bool, view func(string, T) V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for id, v := range all {
			if keep(v) && !yield(id, view(id, v)) {
				return
			}
		}
	}
}

// sorted orders a collected sequence by a numeric key, newest first; the cursor is not used with it.
func newestFirst[T any](all iter.Seq2[string, T], number func(T) int) []T {
	var out []T
	for _, v := range all {
		out = append(out, v)
	}
	sort.SliceStable(out, func(i, j int) bool { return number(out[i]) > number(out[j]) })
	return out
}
