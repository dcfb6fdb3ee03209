// Package clock builds an instard whose wall clock can be set while it runs. Its monotonic clock is the
// machine's, and so are the clocks of everything else.
//
// A file that only this build has, by an overlay, replaces time.Now in the running process: the standard library
// need not be built anew with another time package, which would be every package there is, and takes minutes.
// It is for linux on amd64; elsewhere Supported says no.
package clock

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/e2e/node"
)

//go:embed testdata/clock.go.txt
var source []byte

// variable names the file that says what the clock is set to.
const variable = "INSTAR_TEST_CLOCK"

// Supported reports whether this machine can run such an instard.
func Supported() bool { return runtime.GOOS == "linux" && runtime.GOARCH == "amd64" }

// Build builds a folder of binaries with an instard whose clock can be set.
func Build(ctx context.Context, repository string, v node.Variant) error {
	v.Files = map[string][]byte{"cmd/instard/testclock.go": source}
	return node.BuildVariant(ctx, repository, v)
}

// Clocks are the clocks of several nodes, which keep their setting over a restart of a node.
type Clocks struct{ dir string }

// New keeps the settings in a folder.
func New(dir string) *Clocks { return &Clocks{dir} }

func (c *Clocks) file(node int) string { return filepath.Join(c.dir, fmt.Sprint("clock", node)) }

// Wrap changes the command line of a node, so that it has its own clock.
func (c *Clocks) Wrap(node int, command []string) []string {
	return append([]string{"env", variable + "=" + c.file(node)}, command...)
}

// Set sets a node's wall clock to the machine's and an offset, in whole seconds. The node may be down; one
// that runs follows within milliseconds: Await tells.
func (c *Clocks) Set(node int, offset time.Duration) error {
	next := c.file(node) + ".next"
	if err := os.WriteFile(next, []byte(strconv.FormatInt(int64(offset/time.Second), 10)), 0o600); err != nil {
		return err
	}
	return os.Rename(next, c.file(node))
}

// Await waits until a node that runs has the offset.
func (c *Clocks) Await(ctx context.Context, node int, offset time.Duration) error {
	want := strconv.FormatInt(int64(offset/time.Second), 10)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		data, err := os.ReadFile(c.file(node) + ".set")
		if err == nil && strings.TrimSpace(string(data)) == want {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the clock of node %d is not set to %s: %w", node, offset, ctx.Err())
		}
	}
}
