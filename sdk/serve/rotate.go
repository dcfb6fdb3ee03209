package serve

import (
	"fmt"
	"os"
	"sync"
)

// maxLogBytes is the size at which a log file becomes PATH.1, of which one is kept: a driver's log takes
// at most twice this.
const maxLogBytes = 10 << 20

// rotatingFile is a log file of limited size that is also file descriptor 2.
type rotatingFile struct {
	path string
	max  int64

	mu   sync.Mutex
	file *os.File
	size int64
}

func openRotating(path string, maxBytes int64) (*rotatingFile, error) {
	r := &rotatingFile{path: path, max: maxBytes}
	return r, r.open()
}

// open opens the file and makes it file descriptor 2.
func (r *rotatingFile) open() error {
	file, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = replaceStderr(file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.path, joinClose(err, file))
	}
	if r.file != nil {
		_ = r.file.Close() // nothing is buffered; its successor is in place
	}
	r.file, r.size = file, info.Size()
	return nil
}

// Write implements io.Writer. A file that cannot be rotated is written on: a log over its limit is better
// than none.
func (r *rotatingFile) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size > 0 && r.size+int64(len(p)) > r.max {
		r.rotate()
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

func (r *rotatingFile) rotate() {
	// What was written to file descriptor 2 directly is not in size, but in the file: it goes with it.
	if err := os.Rename(r.path, r.path+".1"); err == nil {
		err = r.open()
		if err == nil {
			return
		}
		fmt.Fprintf(r.file, "rotating the log: %v\n", err)
	}
	r.size = 0 // try again after another max bytes
}

func joinClose(err error, file *os.File) error {
	_ = file.Close() // err is what the caller wants to know
	return err
}
