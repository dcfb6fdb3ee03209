// Package notice puts into sentences what the records of the log bring about. It is pure: the same records
// give the same notices on every node, so a stream of them can be resumed anywhere from a sequence number.
package notice

import (
	"encoding/json"
	"fmt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// Before reads an object as it was before the record; false if there was none.
type Before func(kind core.Kind, id string) ([]byte, bool)

// Of gives the notices of a record, in the order of its operations.
func Of(rec *core.Record, before Before) []core.Notice {
	w := &writer{meta: rec.Txn.Meta, seq: rec.Seq, before: before}
	for i := range rec.Txn.Ops {
		w.op = &rec.Txn.Ops[i]
		if tell := tellers[w.op.Kind]; tell != nil {
			tell(w)
		}
	}
	return w.notices
}

// tellers say what a write of an object of their kind brings about.
var tellers = map[core.Kind]func(*writer){
	core.KindService:        (*writer).service,
	core.KindRollout:        (*writer).rollout,
	core.KindInstanceStatus: (*writer).instance,
	core.KindNodeStatus:     (*writer).liveness,
	core.KindNode:           (*writer).node,
	core.KindMember:         (*writer).member,
	core.KindLease:          (*writer).lease,
	core.KindSchedule:       (*writer).schedule,
	core.KindRecovery:       (*writer).recovery,
}

type writer struct {
	meta    core.Meta
	seq     uint64
	before  Before
	op      *core.Op
	notices []core.Notice
}

// say adds a notice about the present operation's object.
func (w *writer) say(topic core.Topic, severity core.Severity, about core.Notice, format string, args ...any) {
	about.Seq, about.Time, about.By = w.seq, w.meta.Time, w.meta.Principal
	about.Topic, about.Severity, about.Message = topic, severity, fmt.Sprintf(format, args...)
	about.Object = string(w.op.Kind) + "/" + w.op.ID
	w.notices = append(w.notices, about)
}

// written is the object that the operation writes; false for a delete.
func written[T any](w *writer, table state.Table[T]) (T, bool) { return table.Decode(w.op) }

// old is the object as it was before; nil if there was none, or none that could be read.
func old[T any](w *writer) *T {
	data, there := w.before(w.op.Kind, w.op.ID)
	if !there {
		return nil
	}
	var v T
	if json.Unmarshal(data, &v) != nil {
		return nil
	}
	return &v
}

// because adds a reason, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
