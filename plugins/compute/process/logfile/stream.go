package logfile

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// block is what holes are aligned to; no common file system has larger blocks.
	block = 4096
	// maxMarks is how many entries an index has before its older half goes.
	maxMarks = 1 << 16
	markSize = 16
)

// stream is one output file and the index of its times.
type stream struct {
	path, index string
	most        int64
	size        int64 // when last looked at
	start       int64 // where the data begins
	marks       int   // entries of the index
}

// mark is an entry of the index: what ends at or before Offset, and after the entry before, was written
// at Time; zero: not known.
type mark struct {
	time   int64 // nanoseconds since 1970
	offset int64
}

func streamPath(dir, name string) string { return filepath.Join(dir, Folder, name) }

// indexPath is outside the watched folder, so that writing an index wakes nobody.
func indexPath(dir, name string) string { return filepath.Join(dir, name+".times") }

// openStream picks up a stream where an earlier keeper left it. What was written since has no time.
func openStream(dir, name string, most int64) *stream {
	s := &stream{path: streamPath(dir, name), index: indexPath(dir, name), most: most}
	if marks := readMarks(s.index); len(marks) > 0 {
		s.marks, s.size = len(marks), marks[len(marks)-1].offset
	}
	s.update(time.Time{})
	return s
}

// update notes how far the file has grown, and gives back what is over the limit. Its errors cost only
// times and space: an instance's work does not depend on them, and the next update tries again.
func (s *stream) update(now time.Time) {
	info, err := os.Stat(s.path)
	if err != nil || info.Size() == s.size {
		return
	}
	if info.Size() < s.size {
		// Somebody has truncated it: the instance itself, by opening /dev/stdout anew.
		s.restart()
	}
	s.size = info.Size()
	s.append(mark{time: nanos(now), offset: s.size})
	if s.size-s.start > s.most {
		s.trim()
	}
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (s *stream) restart() {
	s.start, s.marks = 0, 0
	_ = os.Remove(s.index)
}

// trim gives back the oldest part of the file, so that half of the limit is left.
func (s *stream) trim() {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	end := (s.size - s.most/2) / block * block
	if end <= s.start {
		return
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, end)
	switch {
	case err == nil:
		s.start = end
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS):
		if f.Truncate(0) == nil {
			s.restart()
			s.size = 0
		}
	}
}

func (s *stream) append(m mark) {
	if s.marks >= maxMarks {
		s.halve()
	}
	f, err := os.OpenFile(s.index, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(m.encode()); err == nil {
		s.marks++
	}
}

// halve drops the older half of the index.
func (s *stream) halve() {
	marks := readMarks(s.index)
	marks = marks[len(marks)/2:]
	data := make([]byte, 0, len(marks)*markSize)
	for _, m := range marks {
		data = append(data, m.encode()...)
	}
	tmp := s.index + ".new"
	if os.WriteFile(tmp, data, 0o600) == nil && os.Rename(tmp, s.index) == nil {
		s.marks = len(marks)
	}
}

func (m mark) encode() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, markSize), uint64(m.time))
	return binary.LittleEndian.AppendUint64(b, uint64(m.offset))
}

// readMarks reads an index; half an entry at its end, which a full disk leaves, is dropped.
func readMarks(path string) []mark {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	marks := make([]mark, len(data)/markSize)
	for i := range marks {
		entry := data[i*markSize:]
		marks[i] = mark{
			time: int64(binary.LittleEndian.Uint64(entry)), offset: int64(binary.LittleEndian.Uint64(entry[8:])),
		}
	}
	return marks
}
