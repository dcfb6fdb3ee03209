package snapshot

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"gocloud.dev/gcerrors"

	"github.com/instarhq/instar/core"
)

// refusal is an answer of an S3 server that says no.
type refusal interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

// refusals are what S3 servers say when the credentials or the address are at fault, and what to do.
var refusals = map[string]struct {
	code core.Code
	hint string
}{
	"NoSuchBucket":                 {core.CodeNotFound, "create the bucket, or correct its name, region or endpoint: instard makes no buckets"},
	"PermanentRedirect":            {core.CodeInvalid, "the bucket is in another region: give that one as region=…"},
	"AuthorizationHeaderMalformed": {core.CodeInvalid, "the bucket is in another region: give that one as region=…"},
	"AccessDenied":                 {core.CodeDenied, "the credentials that instard has must be allowed to list the bucket, and to read, write and delete in it"},
	"Forbidden":                    {core.CodeDenied, "the credentials that instard has must be allowed to list the bucket, and to read, write and delete in it"},
	"InvalidAccessKeyId":           {core.CodeDenied, "the server does not know this key: correct AWS_ACCESS_KEY_ID in instard's environment"},
	"SignatureDoesNotMatch":        {core.CodeDenied, "the secret is not that of the key: correct AWS_SECRET_ACCESS_KEY in instard's environment"},
	"ExpiredToken":                 {core.CodeDenied, "the credentials have expired: renew AWS_SESSION_TOKEN in instard's environment, or use a role"},
	"InvalidToken":                 {core.CodeDenied, "correct AWS_SESSION_TOKEN in instard's environment; keys that last have none"},
	"RequestTimeTooSkewed":         {core.CodeDenied, "the clock of this machine, or of the server, is wrong"},
}

// failed says what could not be done where, and what to do. The words are the same each time that the
// same thing fails, without the ids of requests or the ports of connections: a schedule that goes on
// failing is news once.
func (b *Bucket) failed(what, name string, err error) error {
	if own, ok := core.AsError(err); ok {
		return own
	}
	where := strings.TrimSuffix(what+" "+name, " ")
	var refused refusal
	if errors.As(err, &refused) {
		if known, ok := refusals[refused.ErrorCode()]; ok {
			return core.Errorf(known.code, "%s in %s: the server says %s", where, b.url, said(refused)).WithHint("%s", known.hint)
		}
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return core.Errorf(core.CodeNotFound, "%s in %s: there is no such file or bucket", where, b.url)
	case gcerrors.PermissionDenied:
		return core.Errorf(core.CodeDenied, "%s in %s: %w", where, b.url, err).
			WithHint("the credentials that instard has do not allow it")
	}
	if refused != nil {
		return core.Errorf(core.CodeUnavailable, "%s in %s: the server says %s", where, b.url, said(refused))
	}
	if strings.Contains(err.Error(), "get credentials") { // the SDK has no type for it
		return core.Errorf(core.CodeDenied, "%s in %s: instard has no credentials", where, b.url).
			WithHint("put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in instard's environment, or give the machine a role")
	}
	return b.unreachable(where, err)
}

// unreachable is for requests that were not answered.
func (b *Bucket) unreachable(where string, err error) error {
	var slow net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &slow) && slow.Timeout()) {
		return core.Errorf(core.CodeUnavailable, "%s in %s: the server does not answer", where, b.url).
			WithHint("is the endpoint right, and can this node reach it?")
	}
	for _, sign := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, sign) { // which one it is, is chance
			return core.Errorf(core.CodeUnavailable, "%s in %s: the connection was cut off", where, b.url).
				WithHint("try again; the log of the server, or of a proxy before it, may tell why")
		}
	}
	var broken *net.OpError
	if errors.As(err, &broken) && broken.Addr != nil {
		return core.Errorf(core.CodeUnavailable, "%s in %s: %s %s: %w", where, b.url, broken.Op, broken.Addr, broken.Err).
			WithHint("is the endpoint right, and can this node reach it?")
	}
	return core.Errorf(core.CodeUnavailable, "%s in %s: %w", where, b.url, err)
}

func said(r refusal) string {
	if r.ErrorMessage() == "" || r.ErrorMessage() == r.ErrorCode() {
		return r.ErrorCode()
	}
	return r.ErrorCode() + ": " + strings.TrimSuffix(r.ErrorMessage(), ".")
}
