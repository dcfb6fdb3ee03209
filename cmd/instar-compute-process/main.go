// Command instar-compute-process is the compute driver that runs instances as plain processes.
package main

import (
	"github.com/instarhq/instar/plugins/compute/process"
	"github.com/instarhq/instar/sdk/serve"
)

func main() { serve.Run(process.New()) }
