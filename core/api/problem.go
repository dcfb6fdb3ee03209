package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
)

// Problem is an error as the API answers it: RFC 9457 with the members that instar adds.
type Problem struct { //nolint:errname // the RFC's name, which the OpenAPI document shows
	Type   string    `json:"type" example:"about:blank"`
	Title  string    `json:"title" example:"Conflict"`
	Status int       `json:"status" example:"409"`
	Detail string    `json:"detail" doc:"What is wrong, and where"`
	Code   core.Code `json:"code" doc:"Stable, for programs" example:"conflict"`
	Object string    `json:"object,omitempty" doc:"kind/id of the object that it is about"`
	Hint   string    `json:"hint,omitempty" doc:"What to do about it"`
	// RetryAfter repeats the header of that name, in seconds.
	RetryAfter int `json:"retry_after,omitempty"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes the answer application/problem+json.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statuses is the one mapping from error codes to HTTP.
var statuses = map[core.Code]int{
	core.CodeInvalid:     http.StatusUnprocessableEntity,
	core.CodeNotFound:    http.StatusNotFound,
	core.CodeConflict:    http.StatusConflict,
	core.CodeTooLarge:    http.StatusRequestEntityTooLarge,
	core.CodeDenied:      http.StatusForbidden,
	core.CodeLimited:     http.StatusTooManyRequests,
	core.CodeUnsupported: http.StatusNotImplemented,
	core.CodeUnavailable: http.StatusServiceUnavailable,
	core.CodeNotLeader:   http.StatusServiceUnavailable,
	core.CodeTimeout:     http.StatusGatewayTimeout,
	core.CodeCorrupt:     http.StatusInternalServerError,
	core.CodeInternal:    http.StatusInternalServerError,
}

// problem turns any error into what the API answers. An error without a code is logged in full and
// answered without its text, which may hold what the caller has no business to know.
func (s *server) problem(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if core.CodeOf(err) == core.CodeDenied {
		err = s.refused(ctx, err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		if _, typed := core.AsError(err); !typed {
			err = core.Errorf(core.CodeTimeout, "the request ended before the work did: %w", err).
				WithHint("repeat it with the same Request-Id: it happens at most once")
		}
	}
	e, ok := core.AsError(err)
	if !ok {
		s.log.Error("request failed", "principal", s.Principal(ctx), "error", err)
		return &Problem{
			Type: "about:blank", Title: "Internal Server Error", Status: http.StatusInternalServerError,
			Code: core.CodeInternal, Detail: "instard failed at this; its log says how",
		}
	}
	p := &Problem{
		Type: "about:blank", Status: statuses[e.Code], Code: e.Code,
		Detail: err.Error(), Object: e.Object, Hint: e.Hint,
	}
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	p.Title = http.StatusText(p.Status)
	if e.RetryAfter > 0 {
		p.RetryAfter = max(1, int(e.RetryAfter.Seconds()))
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {strconv.Itoa(p.RetryAfter)}})
	}
	return p
}

// unknown answers every path that the API does not have.
func (s *server) unknown(w http.ResponseWriter, r *http.Request) {
	p := &Problem{
		Type: "about:blank", Title: "Not Found", Status: http.StatusNotFound, Code: core.CodeNotFound,
		Detail: fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path), Hint: "/openapi.json lists what there is",
	}
	p.write(w)
}

// write answers with the problem, outside of huma.
func (p *Problem) write(w http.ResponseWriter) {
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}

// refuse answers a request that goes no further. Whoever is nobody may try again as somebody.
func (s *server) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	var p *Problem
	if !errors.As(s.problem(ctx, err), &p) {
		p = &Problem{Type: "about:blank", Status: http.StatusForbidden, Code: core.CodeDenied, Detail: err.Error()}
	}
	if p.Status == http.StatusForbidden && identity.Principal(ctx) == identity.Anonymous {
		p.Status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="instar"`)
	}
	p.Title = http.StatusText(p.Status)
	p.write(w)
}

var problemsOnce sync.Once

// useProblems makes huma's own errors (validation, unknown fields, bad JSON) problems of ours.
func useProblems() {
	problemsOnce.Do(func() {
		huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
			return &Problem{
				Type: "about:blank", Title: http.StatusText(status), Status: status,
				Code: codeOfStatus(status), Detail: detail(msg, errs),
			}
		}
	})
}

func codeOfStatus(status int) core.Code {
	switch {
	case status == http.StatusNotFound:
		return core.CodeNotFound
	case status == http.StatusRequestEntityTooLarge:
		return core.CodeTooLarge
	case status >= 500:
		return core.CodeInternal
	}
	return core.CodeInvalid
}

func detail(msg string, errs []error) string {
	parts := make([]string, 0, len(errs))
	for _, err := range errs {
		if err == nil {
			continue
		}
		if d, ok := err.(huma.ErrorDetailer); ok {
			e := d.ErrorDetail()
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s", e.Location, e.Message)))
			continue
		}
		parts = append(parts, err.Error())
	}
	if len(parts) == 0 {
		return msg
	}
	return msg + ": " + strings.Join(parts, "; ")
}
