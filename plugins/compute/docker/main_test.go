package docker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// image is in every engine that these tests start.
const image = "instar/test:1"

// parallelFlag is how many tests run at a time. What they wait for is the engine and the kernel's networks more than the
// processors, so without the flag it is more than there are of these.
const parallelFlag = "test.parallel"

// engine is the one that most tests share; nil for a user who cannot run one.
var engine *dockertest.Engine

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
	ctx := context.Background()
	var err error
	engine, err = dockertest.Start(ctx)
	switch {
	case errors.Is(err, dockertest.ErrNotRoot):
		return m.Run()
	case err != nil:
		fmt.Println("cannot start an engine:", err)
		return 1
	}
	if _, err = engine.Busybox(ctx, image, nil, `CMD ["sleep", "3600"]`); err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	if err := engine.Stop(); err != nil {
		fmt.Println("the engine leaves something behind:", err)
		return 1
	}
	return code
}
