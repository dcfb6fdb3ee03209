package forward

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"time"

	"github.com/instarhq/instar/core"
)

// The kinds of frames.
const (
	kindPing     byte = 1
	kindPropose  byte = 2
	kindIndex    byte = 3
	kindProgress byte = 4
	kindCompare  byte = 5

	kindPong    byte = 65
	kindReceipt byte = 66 // receipt
	kindSeq     byte = 67 // sequence number (8)
	kindReport  byte = 68 // Progress as JSON
	kindHead    byte = 69 // core.TreeHead as JSON
	kindError   byte = 70 // failure as JSON
)

const (
	lengthSize   = 4
	headerSize   = 1 + 8
	deadlineSize = 4
	// maxFrame bounds a frame without its length: the largest transaction, and room for what is around it.
	maxFrame = core.MaxTxnBytes + 4096
	// bufferSize is of the buffers for reading and writing.
	bufferSize = 64 << 10
)

// frame is one message of either direction.
type frame struct {
	kind    byte
	id      uint64
	payload []byte
}

func (f *frame) writeTo(w *bufio.Writer) error {
	var head [lengthSize + headerSize]byte
	binary.BigEndian.PutUint32(head[:], uint32(headerSize+len(f.payload))) //nolint:gosec // bounded by maxFrame
	head[lengthSize] = f.kind
	binary.BigEndian.PutUint64(head[lengthSize+1:], f.id)
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(f.payload)
	return err
}

func readFrame(r *bufio.Reader) (frame, error) {
	var head [lengthSize + headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < headerSize || length > maxFrame {
		return frame{}, core.Errorf(core.CodeInvalid, "a message of %d bytes, at most %d are allowed", length, maxFrame)
	}
	f := frame{kind: head[lengthSize], id: binary.BigEndian.Uint64(head[lengthSize+1:])}
	f.payload = make([]byte, length-headerSize)
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

// remaining is a deadline as it is sent: clocks of nodes differ, so it is the time that is left.
func remaining(deadline time.Time, ok bool) []byte {
	left := uint32(0)
	if ok {
		left = uint32(max(1, min(time.Until(deadline).Milliseconds(), 1<<31))) //nolint:gosec // within its bounds
	}
	return binary.BigEndian.AppendUint32(make([]byte, 0, deadlineSize), left)
}

// cutRemaining splits a payload into the time that is left and the rest.
func cutRemaining(payload []byte) (left time.Duration, rest []byte, err error) {
	if len(payload) < deadlineSize {
		return 0, nil, core.Errorf(core.CodeInvalid, "a request without a deadline")
	}
	return time.Duration(binary.BigEndian.Uint32(payload)) * time.Millisecond, payload[deadlineSize:], nil
}

const receiptSize = 1 + 8 + 32 // and the origin

func encodeReceipt(r core.Receipt) []byte {
	b := make([]byte, 1, receiptSize+len(r.Origin))
	if r.Replayed {
		b[0] = 1
	}
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = append(b, r.LeafHash[:]...)
	return append(b, r.Origin...)
}

func decodeReceipt(b []byte) (core.Receipt, error) {
	if len(b) < receiptSize {
		return core.Receipt{}, core.Errorf(core.CodeInvalid, "a receipt of %d bytes", len(b))
	}
	return core.Receipt{
		Replayed: b[0] == 1, Seq: binary.BigEndian.Uint64(b[1:]),
		LeafHash: core.Hash(b[9:receiptSize]), Origin: string(b[receiptSize:]),
	}, nil
}

// failure is an error on its way. Seen is the newest record of the node that failed the request.
type failure struct {
	Code    core.Code `json:"code"`
	Message string    `json:"message"`
	Object  string    `json:"object,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	RetryMS int64     `json:"retry_ms,omitempty"`
	Seen    uint64    `json:"seen,omitempty"`
}

func encodeFailure(err error, seen uint64) []byte {
	f := failure{Code: core.CodeOf(err), Message: err.Error(), Seen: seen}
	if e, ok := core.AsError(err); ok {
		f.Object, f.Hint, f.RetryMS = e.Object, e.Hint, e.RetryAfter.Milliseconds()
	}
	data, encodeErr := json.Marshal(f)
	if encodeErr != nil { // strings and numbers only
		return []byte(`{"code":"internal","message":"an error that cannot be encoded"}`)
	}
	return data
}

func decodeFailure(data []byte) (*core.Error, uint64) {
	var f failure
	if err := json.Unmarshal(data, &f); err != nil || f.Code == "" {
		return core.Errorf(core.CodeTimeout, "the answer cannot be read, so the outcome is unknown"), 0
	}
	return &core.Error{
		Code: f.Code, Message: f.Message, Object: f.Object, Hint: f.Hint,
		RetryAfter: time.Duration(f.RetryMS) * time.Millisecond,
	}, f.Seen
}
