package docker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// maxLooked is how many changed files are looked at for when they were changed.
const maxLooked = 256

// variable are the directories whose content says nothing of what an instance is, and shells' histories.
var variable = []string{"/tmp", "/var/tmp", "/run", "/var/run", "/var/log", "/var/cache", "/var/lock", "/dev", "/proc", "/sys"}

// fileChanges are the changes of the container's own files that make it another one. A program may write what
// it likes, so only what was changed since somebody was in the container counts, for nobody can say any more
// whose change it was; in an immutable instance, everything does.
func (t *target) fileChanges(ctx context.Context, c found, rec record) ([]string, error) {
	immutable := c.Config.Labels[labelImmutable] != ""
	entered := rec.Container == c.ID && !rec.Entered.IsZero()
	if !c.State.Running || !immutable && !entered {
		return nil, nil // one that has ended is replaced anyway
	}
	changed, err := t.diff(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []string
	looked := 0
	for _, change := range changed {
		if !immutable {
			if looked++; looked > maxLooked {
				break
			}
			newer, err := t.changedSince(ctx, c, change, rec.Entered)
			if err != nil {
				return nil, err
			}
			if !newer {
				continue
			}
		}
		found = append(found, describeChange(change))
	}
	return found, nil
}

// diff lists changed files, those of the image first.
func (t *target) diff(ctx context.Context, c found) ([]container.FilesystemChange, error) {
	var changes []container.FilesystemChange
	err := t.engine.ask(ctx, askFor, "diff of container "+c.Name, func(ctx context.Context, api *client.Client) error {
		result, err := api.ContainerDiff(ctx, c.ID, client.ContainerDiffOptions{})
		changes = result.Changes
		return err
	})
	if sdk.CodeOf(err) == sdk.CodeNotFound {
		return nil, nil // gone meanwhile
	}
	parents := map[string]bool{} // of what has changed: they are directories
	mounted := map[string]bool{}
	for _, m := range c.Mounts {
		mounted[m.Destination] = true
	}
	for p := range c.HostConfig.Tmpfs {
		mounted[path.Clean(p)] = true
	}
	for _, change := range changes {
		parents[path.Dir(change.Path)] = true
		if mounted[change.Path] { // the engine makes what it mounts on
			for dir := path.Dir(change.Path); dir != "/"; dir = path.Dir(dir) {
				parents[dir] = true
			}
		}
	}
	changes = slices.DeleteFunc(changes, func(change container.FilesystemChange) bool {
		return parents[change.Path] || mounted[change.Path] || isVariable(change.Path)
	})
	slices.SortStableFunc(changes, func(a, b container.FilesystemChange) int { return rank(a) - rank(b) })
	return changes, err
}

func rank(c container.FilesystemChange) int {
	if c.Kind == container.ChangeAdd {
		return 1
	}
	return 0
}

func isVariable(p string) bool {
	for _, dir := range variable {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return strings.HasSuffix(p, "_history")
}

// changedSince reports whether a file or the entries of its directory are newer than a moment. Directories
// themselves do not count.
func (t *target) changedSince(ctx context.Context, c found, change container.FilesystemChange, moment time.Time) (bool, error) {
	// Times of files come with the kernel's tick, which may be a moment behind the clock.
	moment = moment.Add(-20 * time.Millisecond)
	stat, err := t.stat(ctx, c, change.Path)
	if err != nil {
		return false, err
	}
	switch {
	case stat == nil && change.Kind != container.ChangeDelete:
		return false, nil // gone meanwhile
	case stat != nil && stat.Mode.IsDir():
		return false, nil
	case stat != nil && !stat.Mtime.Before(moment):
		return true, nil
	}
	dir, err := t.stat(ctx, c, path.Dir(change.Path))
	return dir != nil && !dir.Mtime.Before(moment), err
}

// stat returns nil for what is not there.
func (t *target) stat(ctx context.Context, c found, p string) (*container.PathStat, error) {
	var stat container.PathStat
	err := t.engine.ask(ctx, askFor, fmt.Sprintf("look at %s in container %s", p, c.Name), func(ctx context.Context, api *client.Client) error {
		result, err := api.ContainerStatPath(ctx, c.ID, client.ContainerStatPathOptions{Path: p})
		stat = result.Stat
		return err
	})
	if sdk.CodeOf(err) == sdk.CodeNotFound {
		return nil, nil //nolint:nilnil // that it is not there is an answer
	}
	return &stat, err
}

func describeChange(c container.FilesystemChange) string {
	switch c.Kind {
	case container.ChangeAdd:
		return c.Path + " was added"
	case container.ChangeDelete:
		return c.Path + " was removed"
	}
	return c.Path + " was changed"
}
