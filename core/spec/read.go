package spec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// readFile reads a regular file of at most limit bytes. It is opened without blocking and looked at
// after opening, so that a pipe or device in its place can neither hang nor flood the reader.
func readFile(path string, limit int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return nil, errors.New("is a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > int64(limit):
		return nil, fmt.Errorf("has %s, at most %s are read", sizeText(info.Size()), sizeText(int64(limit)))
	}
	return readLimited(f, limit) // the size may have changed, or be 0 as in /proc
}

func readLimited(r io.Reader, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("has more than %s", sizeText(int64(limit)))
	}
	return data, nil
}

// sizeText gives a number of bytes in its largest whole or rounded binary unit.
func sizeText(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	if size == float64(int64(size)) {
		return fmt.Sprintf("%d %s", int64(size), units[unit])
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}
