// Command account is a compute driver of cluster scope for tests. Its back-end is a folder that the drivers of
// all nodes share, as they would share a cloud account: an instance is a process, with a record in the folder,
// and whichever node's driver is asked sees and ends it. Every Create and Destroy adds a line to the folder's
// journal, so that a test can tell which node has done what.
//
//	driver.go    Describe, Configure, Probe, and what the driver does not support
//	create.go    Create, and how a test holds it up
//	instance.go  Destroy, Inspect, List, Watch
//	backend.go   the folder
//	process.go   the process of an instance
package main

import "github.com/instarhq/instar/sdk/serve"

func main() { serve.Run(&driver{}) }
