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
}

func openRotating(path string, maxBytes int64) (*rotatingFile, error) {
	r := &rotatingFile{path: path, max: maxBytes}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// open opens the file and makes it file descriptor 2.
func (r *rotatingFile) open() error {
	file, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := duplicate(file, 2); err != nil {
		_ = file.Close() // the first error is what the caller wants to know
		return fmt.Errorf("%s: %w", r.path, err)
	}
	if r.file != nil {
		_ = r.file.Close() // nothing is buffered; its successor is in place
	}
	r.file = file
	return nil
}

// Write implements io.Writer. A file that cannot be rotated is written on: a log over its limit is better
// than none.
func (r *rotatingFile) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The size is asked for each time, because others write to file descriptor 2 too.
	if info, err := r.file.Stat(); err == nil && info.Size() > 0 && info.Size()+int64(len(p)) > r.max {
		if err := r.rotate(); err != nil {
			fmt.Fprintf(r.file, "rotating the log: %v\n", err)
		}
	}
	return r.file.Write(p)
}

func (r *rotatingFile) rotate() error {
	if err := os.Rename(r.path, r.path+".1"); err != nil {
		return err
	}
	return r.open()
}
