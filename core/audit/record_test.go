package audit_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/audit/storev1"
)

func drawTxn(r *rapid.T) core.Txn {
	text := rapid.StringMatching(`[a-zé/ ]{0,12}`)
	txn := core.Txn{Meta: core.Meta{
		Principal: text.Draw(r, "principal"),
		Time:      time.Unix(0, rapid.Int64().Draw(r, "time")).UTC(),
		Verb:      text.Draw(r, "verb"),
		Reason:    text.Draw(r, "reason"),
		RequestID: text.Draw(r, "request id"),
		Cause:     rapid.Uint64().Draw(r, "cause"),
		Origin:    text.Draw(r, "origin"),
	}}
	for range rapid.IntRange(1, 4).Draw(r, "ops") {
		op := core.Op{
			Kind: core.Kind(text.Draw(r, "kind")), ID: text.Draw(r, "id"),
			Delete: rapid.Bool().Draw(r, "delete"), IfSeq: rapid.Uint64().Draw(r, "if seq"),
		}
		if value := rapid.SliceOf(rapid.Byte()).Draw(r, "value"); len(value) > 0 {
			op.Value = value
		}
		txn.Ops = append(txn.Ops, op)
	}
	return txn
}

// TestRoundTrip also reads every record with the code generated from the .proto, so that the schema
// that outsiders build on and View cannot drift apart.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want := drawTxn(r)
		raw, err := audit.Encode(want)
		if err != nil {
			r.Fatal(err)
		}
		got, err := audit.Decode(raw)
		if err != nil {
			r.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			r.Fatalf("decoded\n%+v\nwant\n%+v", got, want)
		}
		var m storev1.Record
		if err := proto.Unmarshal(raw, &m); err != nil {
			r.Fatal(err)
		}
		var view audit.View
		if err := view.Scan(raw); err != nil {
			r.Fatal(err)
		}
		for _, op := range view.Ops {
			if !bytes.Equal(raw[op.Offset:op.Offset+len(op.Value)], op.Value) {
				r.Fatalf("value %q is not at offset %d of %q", op.Value, op.Offset, raw)
			}
		}
		last := m.GetOps()[len(want.Ops)-1]
		if m.GetFormat() != audit.Format || m.GetMeta().GetTimeUnixNano() != want.Meta.Time.UnixNano() ||
			m.GetMeta().GetOrigin() != want.Meta.Origin || last.GetIfSeq() != want.Ops[len(want.Ops)-1].IfSeq {
			r.Fatalf("protobuf reads %v, want %+v", &m, want)
		}
	})
}

// TestGolden pins the bytes: a record that was written once must be readable for ever.
func TestGolden(t *testing.T) {
	txn := core.Txn{
		Meta: core.Meta{
			Principal: "local:root", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Verb: "service.apply",
			Reason: "why", RequestID: "r1", Cause: 300, Origin: "n1",
		},
		Ops: []core.Op{
			{Kind: core.KindService, ID: "web", Value: []byte(`{"format":1}`), IfSeq: 7},
			{Kind: core.KindRoute, ID: "web", Delete: true, IfSeq: core.AnySeq},
		},
	}
	const want = "\x08\x01\x12\x34\x0a\x0alocal:root\x11\x06\x32\x96\x1c\xf2\xca\x86\x18\x1a\x0dservice.apply\x22\x03why\x2a\x02r1\x30\xac\x02\x3a\x02n1" +
		"\x1a\x25\x0a\x07service\x12\x03web\x22\x0c{\"format\":1}\x29\x07\x00\x00\x00\x00\x00\x00\x00" +
		"\x1a\x17\x0a\x05route\x12\x03web\x18\x01\x29\xff\xff\xff\xff\xff\xff\xff\xff"
	const wantLeaf = "0e68e3167500020a4e42bd1e597818a9365d593403063a3de07d9e13b217a659"
	raw, err := audit.Encode(txn)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != want {
		t.Errorf("encoded as\n%q, want\n%q", raw, want)
	}
	if leaf := audit.LeafHash([]byte(want)).String(); leaf != wantLeaf {
		t.Errorf("leaf hash %s, want %s", leaf, wantLeaf)
	}
	if back, err := audit.Decode([]byte(want)); err != nil || !reflect.DeepEqual(back, txn) {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := audit.Encode(core.Txn{
		Meta: core.Meta{Principal: "p", Verb: "v", Time: time.Unix(1, 0)},
		Ops:  []core.Op{{Kind: "service", ID: "a", Value: []byte("1"), IfSeq: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		raw  []byte
		code core.Code
		text string
	}{
		"nothing":         {nil, core.CodeCorrupt, "no format number"},
		"text":            {[]byte(`{"format":1}`), core.CodeCorrupt, "wire type"},
		"newer format":    {append([]byte{8, 2}, good[2:]...), core.CodeUnsupported, "format 2"},
		"no format":       {good[2:], core.CodeCorrupt, "no format number"},
		"cut off":         {good[:len(good)-1], core.CodeCorrupt, "field 3"},
		"no operation":    {good[:2+2+int(good[3])], core.CodeCorrupt, "no operation"},
		"unknown field":   {append(bytes.Clone(good), 0x22, 0), core.CodeUnsupported, "number 4"},
		"meta twice":      {append(append(bytes.Clone(good[:2+2+int(good[3])]), good[2:2+2+int(good[3])]...), good...), core.CodeCorrupt, "field 2 comes after field 2"},
		"fields disorder": {append(bytes.Clone(good), 8, 1), core.CodeCorrupt, "comes after"},
		"principal twice": {append([]byte{8, 1, 0x12, good[3] + 3, 0x0a, 1, 'q'}, good[4:]...), core.CodeCorrupt, "meta: field 1 comes after field 1"},
		"length overflow": {append(bytes.Clone(good), 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), core.CodeCorrupt, "field 3"},
	} {
		_, err := audit.Decode(c.raw)
		if core.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v (code %q), want %q with code %q", name, err, core.CodeOf(err), c.text, c.code)
		}
	}
}

func FuzzDecode(f *testing.F) {
	raw, err := audit.Encode(core.Txn{
		Meta: core.Meta{Principal: "p", Verb: "v", Time: time.Unix(1, 0)},
		Ops:  []core.Op{{Kind: "service", ID: "a", Value: []byte("1"), IfSeq: 1}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		txn, err := audit.Decode(raw)
		if err != nil {
			return
		}
		// What decodes can be encoded again and says the same, whatever its bytes were.
		again, err := audit.Encode(txn)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := audit.Decode(again); err != nil || !reflect.DeepEqual(back, txn) {
			t.Fatalf("%+v became %+v, %v", txn, back, err)
		}
	})
}

func TestEncodeLimit(t *testing.T) {
	ops := make([]core.Op, 5)
	for i := range ops {
		ops[i] = core.Op{Kind: "service", ID: strings.Repeat("x", i+1), Value: make([]byte, core.MaxValueBytes)}
	}
	txn := core.Txn{Meta: core.Meta{Principal: "p", Verb: "v"}, Ops: ops}
	if _, err := audit.Encode(txn); core.CodeOf(err) != core.CodeTooLarge {
		t.Fatalf("got %v, want code too_large", err)
	}
	txn.Ops = ops[:3]
	raw, err := audit.Encode(txn)
	if err != nil {
		t.Fatal(err)
	}
	if audit.LeafHash(raw) == audit.LeafHash(raw[1:]) {
		t.Fatal("leaf hashes of different records are the same")
	}
}
