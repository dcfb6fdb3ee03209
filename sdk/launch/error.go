package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/instarhq/instar/sdk/wire"
)

// maxTail bounds how much of a log is quoted in an error.
const maxTail = 2 << 10

// StartError says why a driver could not be launched, with its own last words.
type StartError struct {
	Path   string
	Err    error
	Exit   string // how the process ended
	Output string // what it wrote to standard error since the launch, its end
}

// Error gives the whole story in one text.
func (e *StartError) Error() string {
	text := fmt.Sprintf("launching %s: %v", filepath.Base(e.Path), e.Err)
	if e.Exit != "" {
		text += " (" + e.Exit + ")"
	}
	if e.Output != "" {
		text += "; it wrote: " + e.Output
	}
	return text
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// plain says in the words of this package what go-plugin says of a handshake that did not come to be.
func plain(err error, limit time.Duration) error {
	text := err.Error()
	rest, garbled := strings.CutPrefix(text, "Unrecognized remote plugin message: ")
	line, _, _ := strings.Cut(rest, "\n")
	switch {
	case strings.HasPrefix(text, "timeout while waiting for plugin to start"):
		return fmt.Errorf("timeout: it did not say within %s where it listens", limit)
	case strings.HasPrefix(text, "plugin exited before we could connect"), garbled && strings.TrimSpace(line) == "":
		return errors.New("it ended before it said where it listens")
	case garbled:
		return fmt.Errorf("it wrote %q to standard output, which is no handshake of a driver", clipped(strings.TrimSpace(line)))
	}
	return err
}

// maxQuote bounds how much of what is no handshake is quoted.
const maxQuote = 200

func clipped(text string) string {
	if len(text) <= maxQuote {
		return text
	}
	return strings.ToValidUTF8(text[:maxQuote], "") + "…"
}

func logSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logTail is the end of what was written to a log from the given offset on.
func logTail(path string, from int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	if size := logSize(path); size-from > maxTail {
		from = size - maxTail
	}
	data, err := io.ReadAll(io.NewSectionReader(file, from, maxTail))
	if err != nil || !utf8.Valid(data) {
		return strings.ToValidUTF8(string(data), "?")
	}
	return strings.TrimSpace(string(data))
}

// environOf is how a launch directory shows in the environment of its process, between zero bytes.
func environOf(dir string) string {
	return "\x00" + wire.EnvCertificate + "=" + filepath.Join(dir, driverCert) + "\x00"
}
