package core_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/instarhq/instar/core"
)

func TestErrorf(t *testing.T) {
	err := core.Errorf(core.CodeConflict, "service %q: %w", "web", io.EOF).WithObject(core.KindService, "web").WithHint("wait %ds", 3)
	wrapped := fmt.Errorf("apply: %w", err)
	if got := wrapped.Error(); got != `apply: service "web": EOF` {
		t.Errorf("message %q", got)
	}
	if !errors.Is(wrapped, io.EOF) {
		t.Error("the cause is lost")
	}
	e, ok := core.AsError(wrapped)
	if !ok || e.Object != "service/web" || e.Hint != "wait 3s" || core.CodeOf(wrapped) != core.CodeConflict {
		t.Errorf("%+v", e)
	}
}

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		err       error
		code      core.Code
		retryable bool
	}{
		{nil, "", false},
		{io.EOF, core.CodeInternal, false},
		{core.Errorf(core.CodeUnavailable, "x"), core.CodeUnavailable, true},
		{core.Errorf(core.CodeTimeout, "x"), core.CodeTimeout, true},
		{core.Errorf(core.CodeConflict, "x"), core.CodeConflict, false},
		{&core.Error{Code: core.CodeDenied, Message: "m", Err: io.EOF}, core.CodeDenied, false},
	} {
		if core.CodeOf(c.err) != c.code || core.Retryable(c.err) != c.retryable {
			t.Errorf("%v: %s, %v", c.err, core.CodeOf(c.err), core.Retryable(c.err))
		}
	}
}
