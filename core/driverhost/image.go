package driverhost

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// image is a driver binary as it was when it was hashed.
type image struct {
	path   string
	digest core.Digest
	stamp  stamp
}

// stamp tells whether a file is still the one that was hashed, without reading it again. Installing
// replaces a file by rename, which gives another inode; writing into one changes the time.
type stamp struct {
	info fs.FileInfo
	size int64
	time time.Time
}

func stampOf(info fs.FileInfo) stamp { return stamp{info, info.Size(), info.ModTime()} }

func (s stamp) same(o stamp) bool {
	return s.info != nil && o.info != nil && os.SameFile(s.info, o.info) && s.size == o.size && s.time.Equal(o.time)
}

// images remembers digests by file, so that looking at unchanged binaries costs nothing.
type images struct {
	mu    sync.Mutex
	known map[string]image
}

func newImages() *images { return &images{known: map[string]image{}} }

// read returns the image of a binary, hashing it if it has changed.
func (c *images) read(path string) (image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return image{}, err
	}
	now := stampOf(info)
	c.mu.Lock()
	known := c.known[path]
	c.mu.Unlock()
	if known.stamp.same(now) {
		return known, nil
	}
	digest, err := lockfile.Digest(path)
	if err != nil {
		return image{}, err
	}
	// The stamp is from before the hash: a change in between shows at the next look.
	fresh := image{path: path, digest: digest, stamp: now}
	c.mu.Lock()
	c.known[path] = fresh
	c.mu.Unlock()
	return fresh, nil
}

// runs reports whether a process executes exactly this image: the binary could have been replaced between
// the hash and the start.
func (i image) runs(pid int) error {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return fmt.Errorf("what process %d executes: %w", pid, err)
	}
	if !i.stamp.same(stampOf(info)) {
		return fmt.Errorf("%s was replaced while it was being launched", i.path)
	}
	return nil
}
