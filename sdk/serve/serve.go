// Package serve runs a driver as a process of its own.
//
// A driver's main is one line:
//
//	func main() { serve.Run(mydriver.New()) }
//
// Run lives here and not in package sdk because the gRPC adapters it needs (package wire) import sdk.
package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire"
)

// closeTimeout bounds Close: the daemon kills a driver that has not ended a little later.
const closeTimeout = 20 * time.Second

// Closer is an optional interface of a driver: what it has to put in order before its process ends at
// SIGTERM. Instances and the data plane must stay as they are; they belong to the next process.
type Closer interface {
	Close(ctx context.Context) error
}

// Run serves the driver until the daemon ends it with SIGTERM. It does not return when the process was
// started by hand: it says what this program is and exits with status 2. Any other failure to start is
// logged and exits with status 1.
func Run(driver sdk.Driver) {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		explain(os.Stderr, driver)
		os.Exit(2)
	}
	if err := run(driver); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

// run is the life of a driver process from the log file to the last call.
func run(driver sdk.Driver) error {
	if wire.KindOf(driver) == "" {
		return fmt.Errorf("%T implements none of sdk.Compute, sdk.Traffic and sdk.Metrics", driver)
	}
	if err := redirectLog(); err != nil {
		return err
	}
	ignoreSignals()
	logger := Logger("serve")
	p := &process{driver: driver, logger: logger}
	p.stopOnTerm()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ServerPlugins(driver),
		TLSProvider:      tlsFromEnv,
		GRPCServer:       p.newServer,
		Logger:           logger.Named("plugin"),
	})
	p.close()
	return p.failed()
}

// process is what ends in order: the driver's Close once, then the server.
type process struct {
	driver sdk.Driver
	logger hclog.Logger
	once   sync.Once

	mu     sync.Mutex
	server *grpc.Server // nil until go-plugin has asked for it: the handshake never came that far
}

func (p *process) newServer(opts []grpc.ServerOption) *grpc.Server {
	opts = append(opts, wire.ServerOptions(p.logger)...)
	opts = append(opts, takeBackOutput()...)
	forgetEnvironment()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = grpc.NewServer(opts...)
	return p.server
}

// close calls the driver's Close, at most once.
func (p *process) close() {
	p.once.Do(func() {
		closer, ok := p.driver.(Closer)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := closer.Close(ctx); err != nil {
			p.logger.Error("closing the driver", "error", err)
		}
	})
}

// stop ends the process: Close first, while calls are still answered, then the server with its streams.
func (p *process) stop() {
	p.close()
	p.mu.Lock()
	server := p.server
	p.mu.Unlock()
	if server == nil {
		os.Exit(0) // before the handshake; nothing waits for an answer
	}
	server.Stop()
}

// failed reports a server that never came to be; go-plugin has logged why.
func (p *process) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return errors.New("could not serve; the log says why")
	}
	return nil
}
