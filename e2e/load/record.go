package load

import (
	"sync"
	"time"
)

// Outcome is how a request ended.
type Outcome uint8

// The outcomes; all but OK are failures.
const (
	OK             Outcome = iota
	BadStatus              // an answer, but not 2xx (WebSocket: not 101)
	TransportError         // refused, reset, closed without an answer, timed out
	Truncated              // the answer's body ended early
	WrongBody              // whole, but not what was asked for
	NotSent                // too many requests were under way already
)

var outcomeNames = [...]string{"ok", "bad status", "transport error", "truncated body", "wrong body", "not sent"}

// String is the outcome's name in reports.
func (o Outcome) String() string { return outcomeNames[o] }

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// NoRevision is the revision of an answer that names none.
const NoRevision = -1

// Record is one request. Times count from the run's start.
type Record struct {
	Kind     Kind
	Outcome  Outcome
	Status   uint16 // 0: no answer
	Revision int32  // that answered, or NoRevision

	Intended  time.Duration // when the schedule wanted it sent
	Begin     time.Duration // when it was sent; a connection may have to be made first
	FirstByte time.Duration // of the answer; 0: none came
	End       time.Duration
	Paused    time.Duration // time that the sender itself spent pacing its body

	detail uint32 // 1 + index in the book's details; 0: none
}

// Latency is how long the customer waited, counted from the intended start.
func (r *Record) Latency() time.Duration { return r.End - r.Intended - r.Paused }

// book collects the records of a run.
type book struct {
	mu      sync.Mutex
	records []Record
	failed  int
	details []string
	index   map[string]uint32

	sessions, moved, lost int // WebSocket sessions: begun, ended by a clean close of the server, lost
	repeated              int // HTTP/2 requests that went out twice, as the protocol allows after GOAWAY
}

// maxDetails bounds the distinct error texts that are kept.
const maxDetails = 1000

func (b *book) add(r Record, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Outcome != OK {
		b.failed++
		r.detail = b.detail(detail)
	}
	b.records = append(b.records, r)
}

func (b *book) detail(text string) uint32 {
	if i, ok := b.index[text]; ok {
		return i
	}
	if len(b.details) == maxDetails {
		return 0
	}
	if b.index == nil {
		b.index = make(map[string]uint32)
	}
	b.details = append(b.details, text)
	b.index[text] = uint32(len(b.details))
	return b.index[text]
}

func (b *book) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.records) >= MaxRecords
}

func (b *book) count(what *int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*what++
}
