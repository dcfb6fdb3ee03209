package wire

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

// maxMessage bounds an error's text on the wire: status details are HTTP/2 headers, and peers limit those.
const maxMessage = 4 << 10

var statusCodes = map[sdk.Code]codes.Code{
	sdk.CodeNotFound:      codes.NotFound,
	sdk.CodeConflict:      codes.FailedPrecondition,
	sdk.CodeUnavailable:   codes.Unavailable,
	sdk.CodeInvalidConfig: codes.InvalidArgument,
	sdk.CodeUnsupported:   codes.Unimplemented,
	sdk.CodeInternal:      codes.Internal,
}

// sdkCodes reads the status of a driver that sends no detail, as one in another language may.
var sdkCodes = map[codes.Code]sdk.Code{
	codes.NotFound:           sdk.CodeNotFound,
	codes.FailedPrecondition: sdk.CodeConflict,
	codes.AlreadyExists:      sdk.CodeConflict,
	codes.Aborted:            sdk.CodeConflict,
	codes.Unavailable:        sdk.CodeUnavailable,
	codes.InvalidArgument:    sdk.CodeInvalidConfig,
	codes.Unimplemented:      sdk.CodeUnsupported,
}

// toStatus turns an error of a driver into one that gRPC carries whole. A driver that returns because the
// call itself was cancelled or timed out says so with gRPC's own codes; a deadline of the driver's own
// making is an ordinary error.
func toStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return status.FromContextError(ctx.Err()).Err()
	}
	detail := &driverv1.ErrorDetail{Code: driverv1.ErrorCode_ERROR_CODE_INTERNAL, Message: clip(err.Error())}
	var typed *sdk.Error
	if errors.As(err, &typed) {
		detail.Code = errorCodes.toWire(typed.Code)
		detail.Message = clip(fullMessage(err, typed))
		detail.Attribute = text(typed.Attribute)
		if typed.RetryAfter > 0 {
			detail.RetryAfter = durationpb.New(typed.RetryAfter)
		}
	}
	code, ok := statusCodes[sdk.CodeOf(err)]
	if !ok {
		code = codes.Internal
	}
	st, detailErr := status.New(code, clip(err.Error())).WithDetails(detail)
	if detailErr != nil { // only for codes.OK, which statusCodes does not hold
		return status.Error(code, clip(err.Error()))
	}
	return st.Err()
}

// fullMessage keeps what a driver wrapped around the typed error, without its attribute, which travels
// in a field of its own.
func fullMessage(err error, typed *sdk.Error) string {
	return strings.Replace(err.Error(), typed.Error(), typed.Message, 1)
}

// fromStatus turns the outcome of a call back into the driver's error. ctx is the caller's.
func fromStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if ctx.Err() != nil && (st.Code() == codes.Canceled || st.Code() == codes.DeadlineExceeded) {
		return ctx.Err()
	}
	if st.Code() == codes.DeadlineExceeded {
		// The deadline travelled with the call, and the driver's clock fired first.
		return context.DeadlineExceeded
	}
	for _, d := range st.Details() {
		detail, ok := d.(*driverv1.ErrorDetail)
		if !ok {
			continue
		}
		e := &sdk.Error{
			Code: errorCodes.fromWire(detail.GetCode()), Message: detail.GetMessage(),
			Attribute: detail.GetAttribute(), RetryAfter: detail.GetRetryAfter().AsDuration(),
		}
		if e.Code == "" {
			e.Code = sdk.CodeInternal
		}
		return e
	}
	code, ok := sdkCodes[st.Code()]
	if !ok {
		code = sdk.CodeInternal
	}
	return &sdk.Error{Code: code, Message: st.Message()}
}

// clip shortens a text to what fits into a header, at a character's border.
func clip(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + " …"
	}
	return text(s)
}

// text makes a text from outside valid for protobuf, which refuses a whole message for one wrong byte.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
