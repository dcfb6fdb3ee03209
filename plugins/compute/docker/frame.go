package docker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

const (
	// maxLine is where lines are cut.
	maxLine = 64 << 10
	// maxFrame is more than an engine puts into one frame.
	maxFrame = 16 << 20
	// frameHeader is the length of a frame's header: a stream's number, three zero bytes, the length.
	frameHeader = 8
)

// partial is a line of which more is to come.
type partial struct {
	at   time.Time
	text strings.Builder
	open bool
}

// readFrames reads the engine's multiplexed stream of output with timestamps. Each frame is one entry of the
// log: a timestamp, a space, and a line, or a part of one that was too long for the log, without its newline.
func readFrames(r io.Reader, line func(sdk.LogLine) error) error {
	buffered := bufio.NewReaderSize(r, 32<<10)
	var parts [2]partial
	names := [2]string{"stdout", "stderr"}
	for {
		var header [frameHeader]byte
		if _, err := io.ReadFull(buffered, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return flush(&parts, names, line)
			}
			return err
		}
		size := binary.BigEndian.Uint32(header[4:])
		if size > maxFrame || header[0] > 3 {
			return fmt.Errorf("the engine's stream of logs is damaged: a frame of stream %d with %d bytes", header[0], size)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(buffered, payload); err != nil {
			return err
		}
		stream := 0
		if header[0] == 2 {
			stream = 1
		}
		if err := parts[stream].add(string(payload), names[stream], line); err != nil {
			return err
		}
	}
}

// add takes one frame's payload.
func (p *partial) add(payload, stream string, line func(sdk.LogLine) error) error {
	at, text := splitTime(payload)
	if !p.open {
		p.at = at
	}
	for {
		part, rest, ended := strings.Cut(text, "\n")
		if room := maxLine - p.text.Len(); len(part) > room {
			part = part[:room]
		}
		p.text.WriteString(part)
		if !ended {
			p.open = true
			return nil
		}
		if err := p.end(stream, line); err != nil {
			return err
		}
		if rest == "" {
			return nil
		}
		text, p.at = rest, at
	}
}

func (p *partial) end(stream string, line func(sdk.LogLine) error) error {
	l := sdk.LogLine{Time: p.at, Stream: stream, Text: strings.TrimSuffix(p.text.String(), "\r")}
	p.text.Reset()
	p.open = false
	return line(l)
}

// flush passes on what ended without a newline.
func flush(parts *[2]partial, names [2]string, line func(sdk.LogLine) error) error {
	for n := range parts {
		if parts[n].open {
			if err := parts[n].end(names[n], line); err != nil {
				return err
			}
		}
	}
	return io.EOF
}

// splitTime takes the timestamp off an entry.
func splitTime(entry string) (time.Time, string) {
	stamp, text, ok := strings.Cut(entry, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if !ok || err != nil {
		return time.Time{}, entry
	}
	return at.UTC(), text
}
