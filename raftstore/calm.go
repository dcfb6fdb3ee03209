package raftstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// calmEvery is how often the same trouble with the same member is told.
const calmEvery = time.Minute

// calmMost bounds what a calmLogger remembers. There are a dozen messages, for each member.
const calmMost = 1000

// calmLogger tells a warning or an error at once, and when it comes again, only once a minute, with how
// often. Raft and its transport write several lines a second for as long as one member is away.
type calmLogger struct {
	hclog.Logger
	mu   sync.Mutex
	told map[string]*telling
}

// telling is one message about one member.
type telling struct {
	at     time.Time
	silent int // times that it was not told since
}

func calm(logger hclog.Logger) hclog.Logger {
	return &calmLogger{Logger: logger, told: make(map[string]*telling)}
}

// Warn implements hclog.Logger.
func (l *calmLogger) Warn(msg string, args ...any) {
	if args, ok := l.due(msg, args); ok {
		l.Logger.Warn(msg, args...)
	}
}

// Error implements hclog.Logger.
func (l *calmLogger) Error(msg string, args ...any) {
	if args, ok := l.due(msg, args); ok {
		l.Logger.Error(msg, args...)
	}
}

// due says whether to tell, and with what.
func (l *calmLogger) due(msg string, args []any) ([]any, bool) {
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "peer" {
			key = fmt.Sprint(msg, " ", args[i+1])
		}
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.told[key]
	switch {
	case t == nil:
		if len(l.told) >= calmMost {
			clear(l.told)
		}
		l.told[key] = &telling{at: now}
		return args, true
	case now.Sub(t.at) < calmEvery:
		t.silent++
		return nil, false
	}
	if t.silent > 0 {
		args = append(args[:len(args):len(args)], "again", t.silent)
	}
	*t = telling{at: now}
	return args, true
}
