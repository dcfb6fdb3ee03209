// Package packaging holds what the Debian and RPM packages install beside the binaries: the systemd unit,
// the example configuration and the maintainer scripts. Its tests check them, and that .goreleaser.yml
// ships every binary.
package packaging
