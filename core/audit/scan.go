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
	err := fields("record", raw, 0, func(f field) error {
		switch f.number {
		case 1:
			format = f.varint
			if format != Format {
				return core.Errorf(core.CodeUnsupported, "record is in format %d, this instar reads format %d", format, Format).
					WithHint("read it with the version of instar that wrote it, or a newer one")
			}
			return f.want("record.format", protowire.VarintType)
		case 2:
			if haveMeta {
				return corrupt("record has two meta fields")
			}
			haveMeta = true
			if err := f.want("record.meta", protowire.BytesType); err != nil {
				return err
			}
			return v.scanMeta(f.bytes)
		case 3:
			if err := f.want("record.ops", protowire.BytesType); err != nil {
				return err
			}
			return v.scanOp(f.bytes, f.offset)
		}
		return f.unknown("record")
	})
	switch {
	case err != nil:
		return err
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
	return fields("meta", raw, 0, func(f field) error {
		switch f.number {
		case 1:
			return f.text("meta.principal", &v.Principal)
		case 2:
			v.Time = int64(f.varint) //nolint:gosec // sfixed64 is the two's complement of the same 64 bits
			return f.want("meta.time_unix_nano", protowire.Fixed64Type)
		case 3:
			return f.text("meta.verb", &v.Verb)
		case 4:
			return f.text("meta.reason", &v.Reason)
		case 5:
			return f.text("meta.request_id", &v.RequestID)
		case 6:
			v.Cause = f.varint
			return f.want("meta.cause", protowire.VarintType)
		case 7:
			return f.text("meta.origin", &v.Origin)
		}
		return f.unknown("meta")
	})
}

func (v *View) scanOp(raw []byte, at int) error {
	var op OpView
	err := fields("op", raw, at, func(f field) error {
		switch f.number {
		case 1:
			return f.text("op.kind", &op.Kind)
		case 2:
			return f.text("op.id", &op.ID)
		case 3:
			op.Delete = f.varint != 0
			return f.want("op.delete", protowire.VarintType)
		case 4:
			op.Value, op.Offset = f.bytes, f.offset
			return f.want("op.value", protowire.BytesType)
		case 5:
			op.IfSeq = f.varint
			return f.want("op.if_seq", protowire.Fixed64Type)
		}
		return f.unknown("op")
	})
	v.Ops = append(v.Ops, op)
	return err
}

// field is one decoded field of a protobuf message; varint also holds fixed64 values.
type field struct {
	number protowire.Number
	wire   protowire.Type
	varint uint64
	bytes  []byte
	offset int // of bytes in the record
}

func (f field) want(name string, wire protowire.Type) error {
	if f.wire != wire {
		return corrupt("%s has wire type %d, not %d", name, f.wire, wire)
	}
	return nil
}

func (f field) text(name string, to *[]byte) error {
	if err := f.want(name, protowire.BytesType); err != nil {
		return err
	}
	if !utf8.Valid(f.bytes) {
		return corrupt("%s is not valid UTF-8", name)
	}
	*to = f.bytes
	return nil
}

func (f field) unknown(message string) error {
	return core.Errorf(core.CodeUnsupported, "%s has a field number %d that this instar does not know", message, f.number).
		WithHint("read it with the version of instar that wrote it, or a newer one")
}

// fields calls yield for each field of a message, which begins at offset at of the record. Field numbers must not fall: Encode writes them in
// order, and so a field twice (but a repeated one) is found.
func fields(message string, raw []byte, at int, yield func(field) error) error {
	end := at + len(raw)
	last := protowire.Number(0)
	for len(raw) > 0 {
		var f field
		var n int
		f.number, f.wire, n = protowire.ConsumeTag(raw)
		if n < 0 {
			return corrupt("%s: %w", message, protowire.ParseError(n))
		}
		raw = raw[n:]
		switch f.wire {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(raw)
		case protowire.Fixed64Type:
			f.varint, n = protowire.ConsumeFixed64(raw)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(raw)
		default:
			return corrupt("%s: field %d has wire type %d, which instar does not use", message, f.number, f.wire)
		}
		if n < 0 {
			return corrupt("%s: field %d: %w", message, f.number, protowire.ParseError(n))
		}
		raw = raw[n:]
		f.offset = end - len(raw) - len(f.bytes)
		if f.number < last {
			return corrupt("%s: field %d comes after field %d", message, f.number, last)
		}
		last = f.number
		if err := yield(f); err != nil {
			return err
		}
	}
	return nil
}

func corrupt(format string, args ...any) error { return core.Errorf(core.CodeCorrupt, format, args...) }
