package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/e2e/node"
)

// built is where the binaries under test are, once for all tests of this package.
var built struct {
	repository string
	bin        string // every command of cmd, with the race detector
	shop       string // the folder that is the shop's artifact: announce and shop
	hello      string // a smaller artifact: announce and hello
}

// atATime is how many tests run at a time, if nothing else is asked for: they wait more than they work.
const atATime = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", atATime); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	// A program with the race detector sleeps for a second at its exit, which helps nobody here.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		return 1, err
	}
	dir, err := node.TempDir()
	if err != nil {
		return 1, err
	}
	defer func() {
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
	}()
	if err := build(context.Background(), dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func build(ctx context.Context, dir string) error {
	var err error
	if built.repository, err = node.Repository(); err != nil {
		return err
	}
	built.bin, built.shop, built.hello = filepath.Join(dir, "bin"), filepath.Join(dir, "shop"), filepath.Join(dir, "hello")
	if err := node.Build(ctx, built.repository, built.bin, true); err != nil {
		return err
	}
	for out, example := range map[string]string{built.shop: "./examples/shop", built.hello: "./examples/hello"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out+"/", example, "./e2e/announce")
		cmd.Dir = built.repository
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", example, err, out)
		}
	}
	return nil
}
