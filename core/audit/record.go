package audit

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit/storev1"
)

// Format is the format number of the records that Encode makes and Decode reads.
const Format = 1

// Encode makes a record's bytes from a transaction. They are made once, by the leader: everybody else
// stores, hashes and hands on the same bytes. CodeTooLarge over core.MaxTxnBytes; Check is the caller's.
func Encode(txn core.Txn) ([]byte, error) {
	m := &storev1.Record{
		Format: Format,
		Meta: &storev1.Meta{
			Principal:    txn.Meta.Principal,
			TimeUnixNano: txn.Meta.Time.UnixNano(),
			Verb:         txn.Meta.Verb,
			Reason:       txn.Meta.Reason,
			RequestId:    txn.Meta.RequestID,
			Cause:        txn.Meta.Cause,
			Origin:       txn.Meta.Origin,
		},
		Ops: make([]*storev1.Op, len(txn.Ops)),
	}
	for i := range txn.Ops {
		op := &txn.Ops[i]
		m.Ops[i] = &storev1.Op{Kind: string(op.Kind), Id: op.ID, Delete: op.Delete, Value: op.Value, IfSeq: op.IfSeq}
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "transaction %q cannot be encoded: %w", txn.Meta.Verb, err).
			WithHint("text in a transaction must be valid UTF-8")
	}
	if len(raw) > core.MaxTxnBytes {
		return nil, core.Errorf(core.CodeTooLarge, "transaction %q has %d bytes, at most %d are allowed", txn.Meta.Verb, len(raw), core.MaxTxnBytes).
			WithHint("split it into several transactions")
	}
	return raw, nil
}

// Decode reads a record's bytes. It refuses another format, a field that it does not know and bytes
// that are no record at all; the result shares no memory with raw.
func Decode(raw []byte) (core.Txn, error) {
	var v View
	if err := v.Scan(raw); err != nil {
		return core.Txn{}, err
	}
	txn := core.Txn{
		Meta: core.Meta{
			Principal: string(v.Principal),
			Time:      time.Unix(0, v.Time).UTC(),
			Verb:      string(v.Verb),
			Reason:    string(v.Reason),
			RequestID: string(v.RequestID),
			Cause:     v.Cause,
			Origin:    string(v.Origin),
		},
		Ops: make([]core.Op, len(v.Ops)),
	}
	for i := range v.Ops {
		op := &v.Ops[i]
		txn.Ops[i] = core.Op{Kind: core.Kind(op.Kind), ID: string(op.ID), Delete: op.Delete, IfSeq: op.IfSeq}
		if len(op.Value) > 0 {
			txn.Ops[i].Value = append([]byte(nil), op.Value...)
		}
	}
	return txn, nil
}

// DecodeRecord reads the bytes of record seq. The record keeps raw, which must not change afterwards.
func DecodeRecord(seq uint64, raw []byte) (core.Record, error) {
	txn, err := Decode(raw)
	if err != nil {
		return core.Record{}, core.Errorf(core.CodeOf(err), "record %d: %w", seq, err)
	}
	return core.Record{Seq: seq, Txn: txn, LeafHash: LeafHash(raw), Raw: raw}, nil
}
