// Command noop is the compute driver of the rollout benchmark: its instances exist in its memory only.
package main

import (
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/serve"
)

func main() { serve.Run(sdktest.NewNoopCompute(nil)) }
