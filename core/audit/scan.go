package audit

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/instarhq/instar/core"
)

// View is a record read in place: all slices alias the record's bytes. It exists because verification
// of a long log must not be slower than its hashing, and the generated code allocates every string. It
// is also stricter: a field that it does not know, a field twice, or a wrong wire type is an error.
type View struct {
	Principal, Verb, Reason, RequestID, Origin []byte

	Time  int64 // nanoseconds since 1970
	Cause uint64
	Ops   []OpView // reused from record to record
}

// OpView is one operation of a View.
type OpView struct {
	Kind, ID, Value []byte

	Offset int // of Value in the record
	IfSeq  uint64
	Delete bool
}

// Scan reads a record's bytes into v, whose memory it reuses. See Decode for what it refuses.
func (v *View) Scan(raw []byte) error {
	*v = View{Ops: v.Ops[:0]}
	var format uint64
	var haveMeta bool
	r, f := newFields("record", raw, 0), field{}
	r.repeated = 3
	for r.more() {
		if err := r.next(&f); err != nil {
			return err
		}
		var err error
		switch f.number {
		case 1:
			if err = f.number64("record.format", protowire.VarintType, &format); err == nil && format != Format {
				return core.Errorf(core.CodeUnsupported, "record is in format %d, this instar reads format %d", format, Format).
					WithHint("read it with the version of instar that wrote it, or a newer one")
			}
		case 2:
			haveMeta = true
			if err = f.want("record.meta", protowire.BytesType); err == nil {
				err = v.scanMeta(f.bytes)
			}
		case 3:
			if err = f.want("record.ops", protowire.BytesType); err == nil {
				err = v.scanOp(f.bytes, f.offset)
			}
		default:
			err = f.unknown("record")
		}
		if err != nil {
			return err
		}
	}
	switch {
	case format == 0:
		return corrupt("record has no format number: these bytes are no record of instar")
	case !haveMeta:
		return corrupt("record has no meta field")
	case len(v.Ops) == 0:
		return corrupt("record has no operation")
	}
	return nil
}

func (v *View) scanMeta(raw []byte) error {
	r, f := newFields("meta", raw, 0), field{}
	for r.more() {
		if err := r.next(&f); err != nil {
			return err
		}
		var err error
		switch f.number {
		case 1:
			err = f.text("meta.principal", &v.Principal)
		case 2:
			var bits uint64
			err = f.number64("meta.time_unix_nano", protowire.Fixed64Type, &bits)
			v.Time = int64(bits) //nolint:gosec // sfixed64 is the two's complement of the same 64 bits
		case 3:
			err = f.text("meta.verb", &v.Verb)
		case 4:
			err = f.text("meta.reason", &v.Reason)
		case 5:
			err = f.text("meta.request_id", &v.RequestID)
		case 6:
			err = f.number64("meta.cause", protowire.VarintType, &v.Cause)
		case 7:
			err = f.text("meta.origin", &v.Origin)
		default:
			err = f.unknown("meta")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *View) scanOp(raw []byte, at int) error {
	v.Ops = append(v.Ops, OpView{})
	op := &v.Ops[len(v.Ops)-1]
	r, f := newFields("op", raw, at), field{}
	for r.more() {
		if err := r.next(&f); err != nil {
			return err
		}
		var err error
		switch f.number {
		case 1:
			err = f.text("op.kind", &op.Kind)
		case 2:
			err = f.text("op.id", &op.ID)
		case 3:
			var set uint64
			err = f.number64("op.delete", protowire.VarintType, &set)
			op.Delete = set != 0
		case 4:
			op.Value, op.Offset = f.bytes, f.offset
			err = f.want("op.value", protowire.BytesType)
		case 5:
			err = f.number64("op.if_seq", protowire.Fixed64Type, &op.IfSeq)
		default:
			err = f.unknown("op")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// field is one decoded field of a protobuf message; varint also holds fixed64 values. Only what goes with
// the wire type is set.
type field struct {
	number protowire.Number
	wire   protowire.Type
	varint uint64
	bytes  []byte
	offset int // of bytes in the record
}

func (f *field) want(name string, wire protowire.Type) error {
	if f.wire != wire {
		return corrupt("%s has wire type %d, not %d", name, f.wire, wire)
	}
	return nil
}

func (f *field) number64(name string, wire protowire.Type, to *uint64) error {
	if err := f.want(name, wire); err != nil {
		return err
	}
	*to = f.varint
	return nil
}

func (f *field) text(name string, to *[]byte) error {
	if err := f.want(name, protowire.BytesType); err != nil {
		return err
	}
	if !utf8.Valid(f.bytes) {
		return corrupt("%s is not valid UTF-8", name)
	}
	*to = f.bytes
	return nil
}

func (f *field) unknown(message string) error {
	return core.Errorf(core.CodeUnsupported, "%s has a field number %d that this instar does not know", message, f.number).
		WithHint("read it with the version of instar that wrote it, or a newer one")
}

// fields reads the fields of a message one after the other. Field numbers must grow: Encode writes them in
// order, and so a field twice (but a repeated one) is found.
type fields struct {
	message  string
	raw      []byte // what is left
	end      int    // of the message in the record
	last     protowire.Number
	repeated protowire.Number // the field that may come again; 0: none
}

// newFields begins with the first field of a message, which stands at offset at of the record.
func newFields(message string, raw []byte, at int) fields {
	return fields{message: message, raw: raw, end: at + len(raw)}
}

func (r *fields) more() bool { return len(r.raw) > 0 }

// next reads a field. Tags and lengths of one byte, which nearly all are, go a short way.
func (r *fields) next(f *field) error {
	n := 1
	if tag := r.raw[0]; tag >= 1<<3 && tag < 0x80 {
		f.number, f.wire = protowire.Number(tag>>3), protowire.Type(tag&7)
	} else if f.number, f.wire, n = protowire.ConsumeTag(r.raw); n < 0 {
		return corrupt("%s: %w", r.message, protowire.ParseError(n))
	}
	raw := r.raw[n:]
	switch f.wire {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(raw)
	case protowire.Fixed64Type:
		f.varint, n = protowire.ConsumeFixed64(raw)
	case protowire.BytesType:
		if len(raw) > 0 && raw[0] < 0x80 && int(raw[0]) < len(raw) {
			n = 1 + int(raw[0])
			f.bytes = raw[1:n:n]
		} else {
			f.bytes, n = protowire.ConsumeBytes(raw)
		}
		f.offset = r.end - len(raw) + n - len(f.bytes)
	default:
		return corrupt("%s: field %d has wire type %d, which instar does not use", r.message, f.number, f.wire)
	}
	if n < 0 {
		return corrupt("%s: field %d: %w", r.message, f.number, protowire.ParseError(n))
	}
	r.raw = raw[n:]
	if f.number <= r.last && (f.number != r.repeated || r.last != r.repeated) {
		return corrupt("%s: field %d comes after field %d", r.message, f.number, r.last)
	}
	r.last = f.number
	return nil
}

func corrupt(format string, args ...any) error { return core.Errorf(core.CodeCorrupt, format, args...) }
