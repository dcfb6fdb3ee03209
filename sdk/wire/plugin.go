package wire

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
)

// Handshake is the cookie by which a driver knows that it was launched by instar. It is no secret: it
// keeps a person from starting a driver by hand and wondering.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "INSTAR_DRIVER",
	MagicCookieValue: "8c27f5a4-driver",
}

// The environment of a launched driver, beside go-plugin's own variables. The certificates are PEM files
// in a directory that only the daemon's user can read.
const (
	EnvCertificate     = "INSTAR_DRIVER_CERT"      // the driver's certificate
	EnvKey             = "INSTAR_DRIVER_KEY"       // and its key
	EnvHostCertificate = "INSTAR_DRIVER_HOST_CERT" // the only client certificate to accept
	EnvLog             = "INSTAR_DRIVER_LOG"       // the file that replaces standard error
	EnvLogLevel        = "INSTAR_DRIVER_LOG_LEVEL" // trace, debug, info, warn or error; default info
)

// Plugin fits one kind of driver into go-plugin.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Kind sdk.Kind
	Impl sdk.Driver // the driver's side only
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// GRPCServer implements plugin.GRPCPlugin on the driver's side.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	return Register(server, p.Impl)
}

// GRPCClient implements plugin.GRPCPlugin on the daemon's side; the result is the kind's contract.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(p.Kind, conn)
}

// ServerPlugins are the plugin sets of a driver, by protocol version.
func ServerPlugins(driver sdk.Driver) map[int]plugin.PluginSet {
	kind := KindOf(driver)
	return map[int]plugin.PluginSet{
		sdk.ProtocolVersion: {string(kind): &Plugin{Kind: kind, Impl: driver}},
	}
}

// ClientPlugins are the plugin sets that the daemon can talk to, by protocol version.
func ClientPlugins() map[int]plugin.PluginSet {
	set := plugin.PluginSet{}
	for _, kind := range []sdk.Kind{sdk.KindCompute, sdk.KindTraffic, sdk.KindMetrics} {
		set[string(kind)] = &Plugin{Kind: kind}
	}
	return map[int]plugin.PluginSet{sdk.ProtocolVersion: set}
}
