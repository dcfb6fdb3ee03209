package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// LockDriver accepts a driver binary, as it is now, for a data directory, and returns its digest. A
// daemon that runs on the directory launches it from then on.
func LockDriver(dataDir, binary string) (core.Digest, error) {
	if _, err := os.Stat(dataDir); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	path, err := filepath.Abs(binary)
	if err != nil {
		return "", fmt.Errorf("driver %s: %w", binary, err)
	}
	return lockfile.Open(filepath.Join(dataDir, lockFile)).Lock(path)
}
