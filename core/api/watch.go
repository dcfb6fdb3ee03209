package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// heartbeat is how often an idle stream says that it is alive.
const heartbeat = 10 * time.Second

type watchInput struct {
	After       uint64   `query:"after" doc:"Begin after this sequence number; 0 with from_start unset: now"`
	FromStart   bool     `query:"from_start" doc:"Begin with the first record"`
	LastEventID uint64   `header:"Last-Event-ID" doc:"What a client that reconnects has seen last"`
	Kinds       []string `query:"kind" doc:"Only objects of these kinds"`
	Service     string   `query:"service" maxLength:"63" doc:"Only objects of this service"`
}

// Heartbeat is sent when nothing else was for a while; it tells how far the stream has come.
type Heartbeat struct {
	Seq uint64 `json:"seq"`
}

func (s *server) registerWatch(api huma.API) {
	operation := op(http.MethodGet, "/v1/watch", "watch", "Every change as it happens; resumes with Last-Event-ID or after")
	sse.Register(api, operation, map[string]any{"change": core.Event{}, "heartbeat": Heartbeat{}}, s.watch)
}

// watch follows the change feed. A client that does not read is cut off by the write deadline of the
// sse package (5 s) and resumes where it was; nothing is buffered for it.
func (s *server) watch(ctx context.Context, in *watchInput, send sse.Sender) {
	after := max(in.After, in.LastEventID)
	if after == 0 && !in.FromStart {
		after = s.Store.Seq()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.pump(ctx, in, after, s.records(ctx, after), send)
}

// records gives what comes after a sequence number, until ctx ends or the log is replaced.
func (s *server) records(ctx context.Context, after uint64) <-chan core.Record {
	records := make(chan core.Record)
	go func() {
		defer close(records)
		for rec, err := range s.Store.Changes(ctx, after) {
			if err != nil {
				return
			}
			select {
			case records <- rec:
			case <-ctx.Done():
				return
			}
		}
	}()
	return records
}

func (s *server) pump(ctx context.Context, in *watchInput, seq uint64, records <-chan core.Record, send sse.Sender) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	if send(sse.Message{ID: int(seq), Data: Heartbeat{Seq: seq}}) != nil {
		return
	}
	for {
		select {
		case rec, ok := <-records:
			if !ok || s.sendRecord(ctx, in, &rec, send) != nil {
				return
			}
			seq = rec.Seq
		case <-beat.C:
			if send(sse.Message{ID: int(seq), Data: Heartbeat{Seq: seq}}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// secret are the kinds that only those see who may list tokens.
var secret = map[core.Kind]bool{core.KindToken: true, core.KindJoinToken: true}

// sendRecord sends the record's matching objects. Only the last one carries the id, so that a client
// which breaks off in between gets the whole record again.
func (s *server) sendRecord(ctx context.Context, in *watchInput, rec *core.Record, send sse.Sender) error {
	secrets := rules["list-tokens"].allows(identity.CallerOf(ctx).Role)
	var events []core.Event
	for i := range rec.Txn.Ops {
		o := &rec.Txn.Ops[i]
		if in.wants(o) && (secrets || !secret[o.Kind]) {
			events = append(events, core.Event{
				Seq: rec.Seq, Kind: o.Kind, ID: o.ID, Delete: o.Delete, Meta: rec.Txn.Meta, Object: o.Value,
			})
		}
	}
	for i := range events {
		m := sse.Message{Data: events[i]}
		if i == len(events)-1 {
			m.ID = int(rec.Seq)
		}
		if err := send(m); err != nil {
			return err
		}
	}
	return nil
}

func (in *watchInput) wants(o *core.Op) bool {
	if len(in.Kinds) > 0 && !slices.Contains(in.Kinds, string(o.Kind)) {
		return false
	}
	return in.Service == "" || state.ServiceOf(o) == in.Service ||
		(o.Delete && strings.HasPrefix(o.ID, in.Service))
}
