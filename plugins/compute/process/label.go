package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/plugins/compute/process/procfs"
)

// maxLabels bounds an extended attribute, as most file systems do.
const maxLabels = 4 << 10

// labelName is the extended attribute of an instance's log files that says whose they are. A process keeps
// these files open, so that it can be told what it is when nothing else is left: programs overwrite their
// environment. As root, only root can set it.
func labelName() string {
	if os.Geteuid() == 0 {
		return "trusted.instar"
	}
	return "user.instar"
}

// label labels the instance's log files with the part of its environment that names it. File systems and
// containers where that is refused do without.
func (i *instance) label() error {
	if i.rec.Found {
		return nil // its own log files are gone
	}
	var labels []string
	for _, entry := range i.rec.Plan.Env {
		if strings.HasPrefix(entry, "INSTAR_") {
			labels = append(labels, entry)
		}
	}
	value := []byte(strings.Join(labels, "\x00"))
	if len(value) > maxLabels {
		return nil
	}
	for _, name := range []string{logfile.Stdout, logfile.Stderr} {
		err := unix.Setxattr(filepath.Join(i.dir, logfile.Folder, name), labelName(), value, 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

// labelsOf reads the labels of an open log file, or else the environment of the process.
func labelsOf(pid int, file string) map[string]string {
	value := make([]byte, maxLabels)
	if file != "" {
		if n, err := unix.Getxattr(file, labelName(), value); err == nil && n > 0 {
			return procfs.ParseEnviron(value[:n])
		}
	}
	return procfs.Environ(pid)
}
