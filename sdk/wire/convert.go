package wire

import (
	"encoding/json"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

// enum maps the words of the sdk to the numbers of the protocol. An unknown word becomes 0, an unknown
// number the empty word.
type enum[S ~string, P ~int32] map[S]P

func (e enum[S, P]) toWire(s S) P { return e[s] }

func (e enum[S, P]) fromWire(p P) S {
	for s, number := range e {
		if number == p {
			return s
		}
	}
	return ""
}

var errorCodes = enum[sdk.Code, driverv1.ErrorCode]{
	sdk.CodeNotFound:      driverv1.ErrorCode_ERROR_CODE_NOT_FOUND,
	sdk.CodeConflict:      driverv1.ErrorCode_ERROR_CODE_CONFLICT,
	sdk.CodeUnavailable:   driverv1.ErrorCode_ERROR_CODE_UNAVAILABLE,
	sdk.CodeInvalidConfig: driverv1.ErrorCode_ERROR_CODE_INVALID_CONFIG,
	sdk.CodeUnsupported:   driverv1.ErrorCode_ERROR_CODE_UNSUPPORTED,
	sdk.CodeInternal:      driverv1.ErrorCode_ERROR_CODE_INTERNAL,
}

// timeToWire keeps the zero time as an absent field.
func timeToWire(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeFromWire(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func durationToWire(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func jsonFromWire(data []byte) json.RawMessage {
	if len(data) == 0 {
		return nil
	}
	return json.RawMessage(data)
}

// labels makes a map of texts valid for protobuf; it copies only if it must.
func labels(m map[string]string) map[string]string {
	out, copied := m, false
	for k, v := range m {
		if text(k) == k && text(v) == v {
			continue
		}
		if !copied {
			out, copied = maps.Clone(m), true
		}
		delete(out, k)
		out[text(k)] = text(v)
	}
	return out
}

// each converts a list, and keeps nothing as nil.
func each[A, B any](in []A, convert func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i := range in {
		out[i] = convert(in[i])
	}
	return out
}

func resourcesToWire(r sdk.Resources) *driverv1.Resources {
	return &driverv1.Resources{Cpu: r.CPU, Memory: r.Memory}
}

func resourcesFromWire(r *driverv1.Resources) sdk.Resources {
	return sdk.Resources{CPU: r.GetCpu(), Memory: r.GetMemory()}
}
