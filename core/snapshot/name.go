package snapshot

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/instarhq/instar/core"
)

const timeLayout = "20060102T150405Z"

var nameRE = regexp.MustCompile(`^(.+)-g(\d+)-s(\d+)-(\d{8}T\d{6}Z)\.instar$`)

// Name is a snapshot's file name: "dev-g1-s2041-20261123T015000Z.instar".
func Name(m *core.Manifest) string {
	return fmt.Sprintf("%s-g%d-s%d-%s.instar", m.Cluster, m.Generation, m.Head.Size, m.Created.UTC().Format(timeLayout))
}

// parseName reads a file's name; false if it is not one of a snapshot of the cluster.
func parseName(name, cluster string) (core.SnapshotFile, bool) {
	m := nameRE.FindStringSubmatch(name)
	if len(m) == 0 || (cluster != "" && m[1] != cluster) {
		return core.SnapshotFile{}, false
	}
	seq, err := strconv.ParseUint(m[3], 10, 64)
	at, timeErr := time.Parse(timeLayout, m[4])
	if err != nil || timeErr != nil {
		return core.SnapshotFile{}, false
	}
	return core.SnapshotFile{Name: name, Seq: seq, Time: at}, true
}

// Expired picks the files that a retention lets go of: all but the newest keep, and all that are older
// than keepFor. A limit of zero is none, and the newest file always stays.
func Expired(files []core.SnapshotFile, keep int, keepFor time.Duration, now time.Time) []core.SnapshotFile {
	newest := slices.Clone(files)
	slices.SortFunc(newest, func(a, b core.SnapshotFile) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return int(int64(b.Seq) - int64(a.Seq))
	})
	var out []core.SnapshotFile
	for i, f := range newest {
		tooMany := keep > 0 && i >= keep
		tooOld := keepFor > 0 && now.Sub(f.Time) > keepFor
		if i > 0 && (tooMany || tooOld) {
			out = append(out, f)
		}
	}
	return out
}
