package docker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// image is in every engine that these tests start.
const image = "instar/test:1"

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
