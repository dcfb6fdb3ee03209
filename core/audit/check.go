package audit

import (
	"unicode"
	"unicode/utf8"

	"github.com/instarhq/instar/core"
)

const (
	maxKindBytes      = 64
	maxRequestIDBytes = 255
)

// Check refuses a transaction that no store may commit: without an author or a verb, without an
// operation, with an object twice, with a bad kind or id (CodeInvalid), or over a limit (CodeTooLarge).
// The limit on the whole transaction is Encode's, because it is one on the encoded bytes.
func Check(txn *core.Txn) error {
	m := &txn.Meta
	switch {
	case m.Principal == "":
		return core.Errorf(core.CodeInvalid, "transaction %q has no principal: the log says who did what", m.Verb)
	case m.Verb == "":
		return core.Errorf(core.CodeInvalid, "transaction of %q has no verb: the log says who did what", m.Principal)
	case len(m.RequestID) > maxRequestIDBytes:
		return core.Errorf(core.CodeTooLarge, "request id of %d bytes, at most %d are allowed", len(m.RequestID), maxRequestIDBytes)
	case len(txn.Ops) == 0:
		return core.Errorf(core.CodeInvalid, "transaction %q has no operation", m.Verb)
	}
	if len(txn.Ops) == 1 {
		return checkOp(&txn.Ops[0])
	}
	type object struct {
		kind core.Kind
		id   string
	}
	seen := make(map[object]struct{}, len(txn.Ops))
	for i := range txn.Ops {
		op := &txn.Ops[i]
		if err := checkOp(op); err != nil {
			return err
		}
		o := object{op.Kind, op.ID}
		if _, twice := seen[o]; twice {
			return core.Errorf(core.CodeInvalid, "transaction %q writes %s %q twice", m.Verb, op.Kind, op.ID).WithObject(op.Kind, op.ID)
		}
		seen[o] = struct{}{}
	}
	return nil
}

func checkOp(op *core.Op) error {
	if !validKind(op.Kind) {
		return core.Errorf(core.CodeInvalid, "kind %q: a kind has 1 to %d of a-z, 0-9 and _, and begins with a letter", op.Kind, maxKindBytes)
	}
	if len(op.ID) > core.MaxIDBytes {
		return core.Errorf(core.CodeTooLarge, "%s id of %d bytes, at most %d are allowed", op.Kind, len(op.ID), core.MaxIDBytes)
	}
	if !validID(op.ID) {
		return core.Errorf(core.CodeInvalid, "%s id %q: an id is not empty, is valid UTF-8 and has no control characters", op.Kind, op.ID)
	}
	switch {
	case len(op.Value) > core.MaxValueBytes:
		return core.Errorf(core.CodeTooLarge, "%s %q has a value of %d bytes, at most %d are allowed", op.Kind, op.ID, len(op.Value), core.MaxValueBytes).
			WithObject(op.Kind, op.ID)
	case op.Delete && len(op.Value) > 0:
		return core.Errorf(core.CodeInvalid, "delete of %s %q with a value", op.Kind, op.ID).WithObject(op.Kind, op.ID)
	case op.Delete && op.IfSeq == 0:
		return core.Errorf(core.CodeInvalid, "delete of %s %q only if it does not exist (if_seq 0)", op.Kind, op.ID).WithObject(op.Kind, op.ID).
			WithHint("name the sequence number that was read, or AnySeq")
	case !op.Delete && len(op.Value) == 0:
		return core.Errorf(core.CodeInvalid, "%s %q is written without a value", op.Kind, op.ID).WithObject(op.Kind, op.ID)
	}
	return nil
}

func validKind(kind core.Kind) bool {
	if kind == "" || len(kind) > maxKindBytes || kind[0] < 'a' || kind[0] > 'z' {
		return false
	}
	for i := range len(kind) {
		c := kind[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func validID(id string) bool {
	if id == "" || !utf8.ValidString(id) {
		return false
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
