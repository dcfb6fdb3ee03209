// Package credential reads the credentials of registries from where Docker's client keeps them: a config.json
// with the credentials themselves, or with the names of helper programs that know them.
//
// The file's format: https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties
// The helpers' protocol: https://github.com/docker/docker-credential-helpers#development
package credential
