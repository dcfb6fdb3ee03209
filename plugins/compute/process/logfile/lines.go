package logfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/sdk"
)

// maxLine is where a line is cut.
const maxLine = 64 << 10

// lines reads one stream line by line, and can go on when it has grown.
type lines struct {
	name, path, index string
	file              *os.File // nil until the instance has made it
	pos               int64    // in the file, of the end of buf
	buf               []byte   // read and not yet returned
	cut               bool     // the line that buf begins in was returned already, or began in a hole
	flush             bool     // no more will come: a line without its newline is one
	marks             []mark
	next              *sdk.LogLine // looked at and not taken
}

func newLines(dir, name string) *lines {
	l := &lines{name: name, path: streamPath(dir, name), index: indexPath(dir, name)}
	l.refresh()
	return l
}

// refresh takes notice of what was written since.
func (l *lines) refresh() {
	l.marks = readMarks(l.index)
	if l.file == nil {
		l.file, _ = os.Open(l.path) // not there yet: the next refresh
		return
	}
	if info, err := l.file.Stat(); err == nil && info.Size() < l.pos {
		l.pos, l.buf, l.cut = 0, nil, false
	}
}

func (l *lines) close() {
	if l.file != nil {
		_ = l.file.Close() // only read from
	}
}

// peek returns the next line without taking it; nil if there is none yet.
func (l *lines) peek() (*sdk.LogLine, error) {
	for l.next == nil && l.file != nil {
		if line, ok := l.split(); ok {
			l.next = line
			continue
		}
		more, err := l.fill()
		if err != nil {
			return nil, err
		}
		if !more {
			if l.flush && len(l.buf) > 0 && !l.cut {
				l.next = l.line(l.buf, l.pos)
				l.buf = nil
			}
			break
		}
	}
	return l.next, nil
}

// split takes a line off buf; false if more has to be read first. A nil line was only the rest of one.
func (l *lines) split() (*sdk.LogLine, bool) {
	i := bytes.IndexByte(l.buf, '\n')
	if i < 0 && len(l.buf) < maxLine {
		return nil, false
	}
	end := i + 1
	if i < 0 {
		end = len(l.buf)
	}
	text, wasCut := l.buf[:end], l.cut
	offset := l.pos - int64(len(l.buf)) + int64(end)
	l.buf = l.buf[end:]
	l.cut = i < 0
	if wasCut {
		return nil, true
	}
	return l.line(bytes.TrimSuffix(text, []byte("\n")), offset), true
}

func (l *lines) line(text []byte, end int64) *sdk.LogLine {
	text = bytes.TrimLeft(text, "\x00") // of a hole that was made while this was read
	return &sdk.LogLine{Time: l.timeAt(end), Stream: l.name, Text: string(text[:min(len(text), maxLine)])}
}

// timeAt returns when what ends at offset was written.
func (l *lines) timeAt(offset int64) time.Time {
	i := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].offset >= offset })
	if i < len(l.marks) {
		if l.marks[i].time == 0 {
			return time.Time{}
		}
		return time.Unix(0, l.marks[i].time)
	}
	// Too young for the index.
	if info, err := l.file.Stat(); err == nil {
		return info.ModTime()
	}
	return time.Time{}
}

// fill reads on, skipping what was given back; false at the end.
func (l *lines) fill() (bool, error) {
	data, err := unix.Seek(int(l.file.Fd()), l.pos, unix.SEEK_DATA)
	if err == nil && data > l.pos {
		l.pos, l.buf, l.cut = data, nil, true
	}
	chunk := make([]byte, 32<<10)
	n, err := l.file.ReadAt(chunk, l.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	l.pos += int64(n)
	l.buf = append(l.buf, chunk[:n]...)
	return n > 0, nil
}
