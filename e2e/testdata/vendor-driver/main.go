// Command instar-compute-pages is a compute driver as a vendor would write it: against the sdk alone, in a
// module of its own. Its instances are web servers inside the driver's process, each showing one text file.
package main

import (
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/serve"
)

func main() {
	serve.Run(&driver{instances: map[string]*instance{}, watchers: map[chan sdk.Instance]bool{}})
}
