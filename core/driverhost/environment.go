package driverhost

import (
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/sdk/wire"
)

// passed are the variables of the daemon that a driver gets: what programs need to find their way on a
// machine, and nothing that may be a secret of the daemon.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "GORACE",
}

// environment is the whole environment of a driver process, beside the variables of the protocol.
func environment(logger hclog.Logger) []string {
	var env []string
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, wire.EnvLogLevel+"="+strings.ToLower(logger.GetLevel().String()))
}
