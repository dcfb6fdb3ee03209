// Command instar-compute-static is an example of a compute driver: each instance is a small web server that
// hands out the files of its artifact. It is complete, though simple: everything that the driver contract
// asks for is here, in files that follow the contract's order.
//
//	driver.go    Describe, Configure, Probe
//	artifact.go  Resolve, Fetch, Prune
//	instance.go  Create, Destroy, Inspect, List
//	watch.go     Watch
//	site.go      the web server of one instance
//	store.go     what survives the process
//
// Its instances live in the driver's own process, so they pause while that is replaced. A driver for
// production would start processes, containers or machines that do not.
package main

import "github.com/instarhq/instar/sdk/serve"

func main() { serve.Run(&driver{}) }
