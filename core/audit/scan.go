package audit

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/instarhq/instar/core"
)

// scanner reads a record without copying: verification of a long log must not be slower than its
// hashing, and the generated code allocates every string. The scanner is also stricter: a field that it
// does not know, a field twice, or a wrong wire type is an error. All slices alias the record.
type scanner struct {
	meta scannedMeta
	ops  []scannedOp // reused from record to record
}

type scannedMeta struct {
	principal, verb, reason, requestID, origin []byte
	time                                       int64
	cause                                      uint64
}

type scannedOp struct {
	kind, id, value []byte
	ifSeq           uint64
	delete          bool
}

func (s *scanner) scan(raw []byte) error {
	s.meta, s.ops = scannedMeta{}, s.ops[:0]
	var format uint64
	var haveMeta bool
	err := fields("record", raw, func(f field) error {
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
			return s.scanMeta(f.bytes)
		case 3:
			if err := f.want("record.ops", protowire.BytesType); err != nil {
				return err
			}
			return s.scanOp(f.bytes)
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
	case len(s.ops) == 0:
		return corrupt("record has no operation")
	}
	return nil
}

func (s *scanner) scanMeta(raw []byte) error {
	m := &s.meta
	return fields("meta", raw, func(f field) error {
		switch f.number {
		case 1:
			return f.text("meta.principal", &m.principal)
		case 2:
			m.time = int64(f.varint) //nolint:gosec // sfixed64 is the two's complement of the same 64 bits
			return f.want("meta.time_unix_nano", protowire.Fixed64Type)
		case 3:
			return f.text("meta.verb", &m.verb)
		case 4:
			return f.text("meta.reason", &m.reason)
		case 5:
			return f.text("meta.request_id", &m.requestID)
		case 6:
			m.cause = f.varint
			return f.want("meta.cause", protowire.VarintType)
		case 7:
			return f.text("meta.origin", &m.origin)
		}
		return f.unknown("meta")
	})
}

func (s *scanner) scanOp(raw []byte) error {
	var op scannedOp
	err := fields("op", raw, func(f field) error {
		switch f.number {
		case 1:
			return f.text("op.kind", &op.kind)
		case 2:
			return f.text("op.id", &op.id)
		case 3:
			op.delete = f.varint != 0
			return f.want("op.delete", protowire.VarintType)
		case 4:
			op.value = f.bytes
			return f.want("op.value", protowire.BytesType)
		case 5:
			op.ifSeq = f.varint
			return f.want("op.if_seq", protowire.Fixed64Type)
		}
		return f.unknown("op")
	})
	s.ops = append(s.ops, op)
	return err
}

// field is one decoded field of a protobuf message; varint also holds fixed64 values.
type field struct {
	number protowire.Number
	wire   protowire.Type
	varint uint64
	bytes  []byte
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

// fields calls yield for each field of a message. Field numbers must not fall: Encode writes them in
// order, and so a field twice (but a repeated one) is found.
func fields(message string, raw []byte, yield func(field) error) error {
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
