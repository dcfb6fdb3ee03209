// Command instar-compute-docker is the compute driver that runs instances as containers.
package main

import (
	"github.com/instarhq/instar/plugins/compute/docker"
	"github.com/instarhq/instar/sdk/serve"
)

func main() { serve.Run(docker.New()) }
