package docker

import (
	"encoding"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"
)

// Types that read themselves, so that errors name the attribute.
var (
	_ encoding.TextUnmarshaler = (*ipAddress)(nil)
	_ encoding.TextUnmarshaler = (*portRange)(nil)
	_ encoding.TextUnmarshaler = (*mountsMode)(nil)
	_ encoding.TextUnmarshaler = (*capability)(nil)
	_ encoding.TextUnmarshaler = (*signalName)(nil)
)

// ipAddress is an address that clients can connect to, or the zero Addr.
type ipAddress struct{ netip.Addr }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *ipAddress) UnmarshalText(text []byte) error {
	ip, err := netip.ParseAddr(string(text))
	if err != nil {
		return err
	}
	if ip.IsUnspecified() {
		return fmt.Errorf("%s is no address that anybody can connect to; give one that the engine's machine has", ip)
	}
	a.Addr = ip
	return nil
}

// portRange is a range as the engine understands it; empty: any.
type portRange string

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *portRange) UnmarshalText(text []byte) error {
	parsed, err := network.ParsePortRange(string(text))
	if err != nil || parsed.Start() == 0 || strings.Contains(string(text), "/") {
		return fmt.Errorf("%q is no range of ports such as 20000-29999", text)
	}
	*r = portRange(fmt.Sprintf("%d-%d", parsed.Start(), parsed.End()))
	return nil
}

type mountsMode string

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *mountsMode) UnmarshalText(text []byte) error {
	switch mode := mountsMode(text); mode {
	case mountsAuto, mountsBind, mountsCopy:
		*m = mode
		return nil
	}
	return fmt.Errorf("%q is none of %s, %s and %s", text, mountsAuto, mountsBind, mountsCopy)
}

// capability is the name of a capability without CAP_.
type capability string

var capabilityRE = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,39}$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *capability) UnmarshalText(text []byte) error {
	name := strings.TrimPrefix(strings.ToUpper(string(text)), "CAP_")
	if !capabilityRE.MatchString(name) {
		return fmt.Errorf("%q is no capability such as NET_BIND_SERVICE", text)
	}
	*c = capability(name)
	return nil
}

// engineCapabilities are those that every container has unless they are dropped:
// https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
var engineCapabilities = map[capability]bool{
	"AUDIT_WRITE": true, "CHOWN": true, "DAC_OVERRIDE": true, "FOWNER": true, "FSETID": true, "KILL": true, "MKNOD": true,
	"NET_BIND_SERVICE": true, "NET_RAW": true, "SETFCAP": true, "SETGID": true, "SETPCAP": true, "SETUID": true, "SYS_CHROOT": true,
}

type signalName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *signalName) UnmarshalText(text []byte) error {
	name := strings.ToUpper(string(text))
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if unix.SignalNum(name) == 0 {
		return fmt.Errorf("%q is no signal such as SIGTERM or SIGQUIT", text)
	}
	*s = signalName(name)
	return nil
}
