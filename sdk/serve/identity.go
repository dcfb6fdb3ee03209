package serve

import (
	"crypto/tls"
	"fmt"
	"os"

	"github.com/instarhq/instar/sdk/wire"
)

// tlsFromEnv reads the key pair that the daemon made for this launch.
func tlsFromEnv() (*tls.Config, error) {
	var own wire.Identity
	var host []byte
	for _, f := range []struct {
		env  string
		into *[]byte
	}{
		{wire.EnvCertificate, &own.Certificate}, {wire.EnvKey, &own.Key}, {wire.EnvHostCertificate, &host},
	} {
		path := os.Getenv(f.env)
		if path == "" {
			return nil, fmt.Errorf("%s is not set: the daemon that launched this driver does not speak its protocol", f.env)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.env, err)
		}
		*f.into = data
	}
	return wire.ServerTLS(own, host)
}

// forgetEnvironment removes the variables of the launch: programs that the driver starts must not take
// themselves for drivers, nor be taken for this one by a daemon that looks for lost processes.
func forgetEnvironment() {
	for _, name := range []string{
		wire.EnvCertificate, wire.EnvKey, wire.EnvHostCertificate, wire.EnvLog, wire.EnvLogLevel, wire.Handshake.MagicCookieKey,
	} {
		_ = os.Unsetenv(name) // fails only for names that are none
	}
}
