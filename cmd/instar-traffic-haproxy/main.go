// Command instar-traffic-haproxy is the traffic driver "haproxy" of instar; instard starts it.
package main

import (
	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/sdk/serve"
)

func main() { serve.Run(haproxy.New()) }
