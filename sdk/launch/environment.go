package launch

import (
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/sdk/wire"
)

// passed are the variables of the launcher that a driver gets: what programs need to find their way on a
// machine, and nothing that may be a secret of the daemon.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "GORACE",
}

// Environment is the whole environment of a driver that logs at the given level: the few variables of this
// process that it may see.
func Environment(level hclog.Level) []string {
	var env []string
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, wire.EnvLogLevel+"="+strings.ToLower(level.String()))
}
