// Command instar-traffic-proxy is the traffic driver "proxy" of instar; instard starts it.
package main

import (
	"github.com/instarhq/instar/plugins/traffic/proxy"
	"github.com/instarhq/instar/sdk/serve"
)

func main() { serve.Run(proxy.New()) }
