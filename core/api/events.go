package api

import (
	"context"
	"net/http"
	"sort"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/telemetry/notice"
)

type eventsInput struct {
	After       uint64 `query:"after" doc:"Begin after this sequence number; 0 with neither from_start nor since: now"`
	FromStart   bool   `query:"from_start" doc:"Begin with the first record"`
	Since       string `query:"since" maxLength:"32" doc:"Begin so long ago: 90s, 24h. It does not change where a stream is resumed"`
	Until       bool   `query:"end" doc:"End with the newest record there is, instead of waiting for more"`
	LastEventID uint64 `header:"Last-Event-ID" doc:"What a client that reconnects has seen last"`
	Service     string `query:"service" maxLength:"63" doc:"Only what is about this service"`

	since time.Duration
}

// Resolve implements huma.Resolver.
func (in *eventsInput) Resolve(huma.Context) []error {
	if in.Since == "" {
		return nil
	}
	var err error
	if in.since, err = time.ParseDuration(in.Since); err != nil || in.since <= 0 {
		return []error{&huma.ErrorDetail{Location: "query.since", Message: "expected a duration such as 90s or 24h", Value: in.Since}}
	}
	return nil
}

func (s *server) registerEvents(api huma.API) {
	operation := op(http.MethodGet, "/v1/events", "events", "What happens, in sentences; resumes with Last-Event-ID or after")
	sse.Register(api, operation, map[string]any{"notice": core.Notice{}, "heartbeat": Heartbeat{}}, s.events)
}

// events follows the log like watch, and tells what its records bring about.
func (s *server) events(ctx context.Context, in *eventsInput, send sse.Sender) {
	after := max(in.After, in.LastEventID)
	switch {
	case after > 0 || in.FromStart:
	case in.since > 0:
		after = s.recordBefore(ctx, s.Now().Add(-in.since))
	default:
		after = s.Store.Seq()
	}
	end := ^uint64(0)
	if in.Until {
		end = s.Store.Seq()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seq := after
	if send(sse.Message{ID: int(seq), Data: Heartbeat{Seq: seq}}) != nil || seq >= end {
		return
	}
	records := s.records(ctx, after)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for seq < end {
		select {
		case rec, ok := <-records:
			if !ok || s.sendNotices(ctx, in, &rec, send) != nil {
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
	_ = send(sse.Message{ID: int(seq), Data: Heartbeat{Seq: seq}}) // the client is gone if this fails
}

// sendNotices sends what a record has brought about. Only the last one carries the id: see sendRecord.
func (s *server) sendNotices(ctx context.Context, in *eventsInput, rec *core.Record, send sse.Sender) error {
	all := notice.Of(rec, func(kind core.Kind, id string) ([]byte, bool) {
		if rec.Seq == 1 {
			return nil, false
		}
		object, err := s.Store.Get(ctx, kind, id, rec.Seq-1)
		return object.Value, err == nil
	})
	wanted := all[:0]
	for _, n := range all {
		if in.Service == "" || n.Service == in.Service {
			wanted = append(wanted, n)
		}
	}
	for i := range wanted {
		m := sse.Message{Data: wanted[i]}
		if i == len(wanted)-1 {
			m.ID = int(rec.Seq)
		}
		if err := send(m); err != nil {
			return err
		}
	}
	return nil
}

// recordBefore is the newest record that is older than a time; 0 if none is.
func (s *server) recordBefore(ctx context.Context, t time.Time) uint64 {
	newest := s.Store.Seq()
	// Times in the log never go back.
	n := sort.Search(int(newest), func(i int) bool {
		rec, err := s.Store.Record(ctx, uint64(i)+1)
		return err != nil || !rec.Txn.Meta.Time.Before(t)
	})
	return uint64(n)
}
