package state

import (
	"context"
	"encoding/json"

	"github.com/instarhq/instar/core"
)

// Record reads one record of the log; it waits for one that is not there yet.
func (s *State) Record(ctx context.Context, seq uint64) (core.Record, error) {
	if seq == 0 {
		return core.Record{}, core.Errorf(core.CodeNotFound, "record 0 does not exist: the log begins with 1")
	}
	for rec, err := range s.source.Changes(ctx, seq-1) {
		return rec, err
	}
	return core.Record{}, ctx.Err()
}

// At reads an object as it was when sequence number seq was the newest; CodeNotFound if it did not
// exist then.
func (t Table[T]) At(ctx context.Context, s *State, id string, seq uint64) (T, error) {
	var v T
	o, err := s.source.Get(ctx, t.kind, id, seq)
	if err != nil {
		return v, err
	}
	e, err := decode(t.kind, id, o.Seq, o.Value)
	if err != nil {
		return v, err
	}
	return e.value.(T), nil
}

// Decode reads the object that an operation of a record writes. ok is false for another kind of
// object, a delete, or a value that does not decode.
func (t Table[T]) Decode(op *core.Op) (value T, ok bool) {
	if op.Kind != t.kind || op.Delete {
		return value, false
	}
	return value, json.Unmarshal(op.Value, &value) == nil
}
