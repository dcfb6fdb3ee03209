package launch

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
