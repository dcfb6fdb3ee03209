package docker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// image is in every engine that these tests start.
const image = "instar/test:1"

// parallelFlag is how many tests run at a time. What they wait for is the engine and the kernel's networks more than the
// processors, so without the flag it is more than there are of these.
const parallelFlag = "test.parallel"

// engine is the one that most tests share, with a default configuration. quiet is that of the conformance suite, which reads
// addresses and sends nothing there: it sets no rules of the packet filter, which are twenty processes for a container with
// two ports. Both are nil for a user who cannot run one.
var engine, quiet *dockertest.Engine

func TestMain(m *testing.M) {
	if job := os.Getenv(roleEnv); job != "" {
		if err := runJob(job); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		select {} // until it is killed
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == parallelFlag })
	if !given {
		if err := flag.Set(parallelFlag, strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	err := startEngines(context.Background())
	switch {
	case errors.Is(err, dockertest.ErrNotRoot):
		return m.Run()
	case err != nil:
		fmt.Println("cannot start the engines:", errors.Join(err, stopEngines()))
		return 1
	}
	code := m.Run()
	if err := stopEngines(); err != nil {
		fmt.Println("an engine leaves something behind:", err)
		return 1
	}
	return code
}

func startEngines(ctx context.Context) error {
	var group sync.WaitGroup
	var errs [2]error
	group.Go(func() { engine, errs[0] = newEngine(ctx) })
	group.Go(func() { quiet, errs[1] = newEngine(ctx, "--iptables=false") })
	group.Wait()
	return errors.Join(errs[:]...)
}

// newEngine starts an engine that has the image.
func newEngine(ctx context.Context, options ...string) (*dockertest.Engine, error) {
	e, err := dockertest.StartSparing(ctx, options...)
	if err != nil {
		return nil, err
	}
	if _, err := e.Busybox(ctx, image, nil, `CMD ["sleep", "3600"]`); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

func stopEngines() error {
	var group sync.WaitGroup
	var errs [2]error
	for n, e := range []*dockertest.Engine{engine, quiet} {
		if e != nil {
			group.Go(func() { errs[n] = e.Stop() })
		}
	}
	group.Wait()
	return errors.Join(errs[:]...)
}
