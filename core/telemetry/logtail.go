package telemetry

import (
	"io"
	"sync"
)

// LogTail keeps the newest of what is written to it, to be read when something has gone wrong. Each Write is
// a line, or several that belong together. Safe for concurrent use.
type LogTail struct {
	mu    sync.Mutex
	lines [][]byte // a ring
	next  int
	bytes int
	most  int // bytes
}

// NewLogTail keeps at most so many lines, and so many bytes of them.
func NewLogTail(lines, bytes int) *LogTail {
	return &LogTail{lines: make([][]byte, lines), most: bytes}
}

// Write implements io.Writer. A line that is longer than everything that is kept is cut.
func (t *LogTail) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := append([]byte(nil), line[:min(len(line), t.most)]...)
	t.bytes += len(kept) - len(t.lines[t.next])
	t.lines[t.next] = kept
	t.next = (t.next + 1) % len(t.lines)
	for i := t.next; t.bytes > t.most; i = (i + 1) % len(t.lines) {
		t.bytes -= len(t.lines[i])
		t.lines[i] = nil
	}
	return len(line), nil
}

// WriteTo implements io.WriterTo: it writes what is kept, oldest first.
func (t *LogTail) WriteTo(w io.Writer) (total int64, err error) {
	t.mu.Lock()
	lines := append(append([][]byte(nil), t.lines[t.next:]...), t.lines[:t.next]...)
	t.mu.Unlock()
	for _, line := range lines {
		n, err := w.Write(line)
		if total += int64(n); err != nil {
			return total, err
		}
	}
	return total, nil
}
