package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/core/api/client"
)

// The environment variables that say how to reach a cluster, besides client.EnvAddress.
const (
	envContext   = "INSTAR_CONTEXT"
	envToken     = "INSTAR_TOKEN"
	envTokenFile = "INSTAR_TOKEN_FILE"
	envCAFile    = "INSTAR_CA_FILE"
	envCADigest  = "INSTAR_CA_DIGEST"
	envCertFile  = "INSTAR_CERT_FILE"
	envKeyFile   = "INSTAR_KEY_FILE"
)

// connect makes the client of the daemon that the flags, the environment or the context name.
func connect(c *cli.Context) (*client.Client, error) {
	options, err := target(c)
	if err != nil {
		return nil, err
	}
	return client.Open(options)
}

// target finds out where the daemon is and as whom to speak: flags, then the environment, then the context
// in use, then the usual sockets. A context's secrets go to the context's address only.
func target(c *cli.Context) (client.Options, error) {
	name, options, err := chosen(c)
	if err != nil {
		return client.Options{}, err
	}
	if name != "" {
		store, err := contexts()
		if err != nil {
			return client.Options{}, err
		}
		s, err := store.load(name)
		if err != nil {
			return client.Options{}, err
		}
		options = s.options()
	}
	err = environment(&options)
	return options, err
}

// chosen is the context to be used, or an address.
func chosen(c *cli.Context) (name string, options client.Options, err error) {
	if address := flag(c, "address"); address != "" {
		return "", client.Options{Address: address}, nil
	}
	if name := flag(c, "context"); name != "" {
		return name, options, nil
	}
	if address := os.Getenv(client.EnvAddress); address != "" {
		return "", client.Options{Address: address}, nil
	}
	if name := os.Getenv(envContext); name != "" {
		return name, options, nil
	}
	if store, err := contexts(); err == nil { // without a home there are none
		name, err := store.current()
		if err != nil || name != "" {
			return name, options, err
		}
	}
	return "", client.Options{Address: client.Discover("")}, nil
}

// environment adds what the environment says to what is known of an address.
func environment(o *client.Options) error {
	if token := os.Getenv(envToken); token != "" {
		o.Token = token
	} else if err := fromFile(envTokenFile, &o.Token); err != nil {
		return err
	}
	for variable, into := range map[string]*string{envCAFile: &o.CA, envCertFile: &o.Certificate, envKeyFile: &o.Key} {
		if err := fromFile(variable, into); err != nil {
			return err
		}
	}
	if digest := os.Getenv(envCADigest); digest != "" {
		o.CA, o.CADigest = "", digest
	}
	return nil
}

// fromFile reads the file that a variable names, if it names one.
func fromFile(variable string, into *string) error {
	path := os.Getenv(variable)
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	*into = strings.TrimSpace(string(data)) + "\n"
	return nil
}
