package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire"
)

// The files of a launch directory.
const (
	driverCert = "driver.crt"
	driverKey  = "driver.key"
	hostCert   = "host.crt"
	hostKey    = "host.key"
)

// maxSocketPath is what a unix socket's address can hold on Linux, with its final zero byte.
const maxSocketPath = 108

// socketName bounds the name that go-plugin gives a socket: "plugin" and a 32-bit number.
const socketName = len("/plugin4294967295")

// Options says what to launch and where.
type Options struct {
	Path      string        // the driver's binary
	Dir       string        // private directory of this launch, for its keys; made with mode 0700
	SocketDir string        // existing private directory for the socket, short; empty: Dir
	Log       string        // the process's standard error
	Env       []string      // its whole environment but the variables of the protocol
	Timeout   time.Duration // for the handshake; 0: 10s
	Logger    hclog.Logger  // what goes on here; nil: nothing
}

// SocketDirFits reports whether a socket in dir has a path that the kernel accepts.
func SocketDirFits(dir string) bool { return len(dir)+socketName < maxSocketPath }

// TempDir makes a private temporary directory in which sockets fit, wherever TMPDIR is.
func TempDir(pattern string) (string, error) {
	var failures []error
	for _, base := range []string{os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"), "/tmp"} {
		if base == "" || !SocketDirFits(filepath.Join(base, pattern+"4294967295")) {
			continue
		}
		dir, err := os.MkdirTemp(base, pattern)
		if err == nil {
			return dir, nil
		}
		failures = append(failures, err)
	}
	return "", fmt.Errorf("temporary directory for sockets: %w", errors.Join(failures...))
}

// Start launches a driver and returns when the handshake is done. On failure nothing is left running, and
// the error ends with what the process wrote last.
func Start(ctx context.Context, o Options) (*Process, error) {
	if o.SocketDir == "" {
		o.SocketDir = o.Dir
	}
	if !SocketDirFits(o.SocketDir) {
		return nil, fmt.Errorf("socket directory %s is too long: the path of a unix socket has at most %d bytes", o.SocketDir, maxSocketPath)
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if err := makeKeys(o.Dir); err != nil {
		return nil, err
	}
	before := logSize(o.Log)
	child, err := newChild(command(o), o.Log)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, o, child)
	if err != nil {
		child.kill()
		return nil, &StartError{Path: o.Path, Err: err, Exit: child.exit(), Output: logTail(o.Log, before)}
	}
	return p, nil
}

func start(ctx context.Context, o Options, child *child) (*Process, error) {
	config, err := clientConfig(o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	config.StartTimeout = o.Timeout
	config.SkipHostEnv = true
	config.RunnerFunc = func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
		child.cmd.Env = append(child.cmd.Env, cmd.Env...) // go-plugin's own variables
		// Last, so that it wins: go-plugin would have a directory of its own making.
		child.cmd.Env = append(child.cmd.Env, plugin.EnvUnixSocketDir+"="+o.SocketDir)
		return child, nil
	}
	config.UnixSocketConfig = &plugin.UnixSocketConfig{TempDir: o.Dir}
	client := plugin.NewClient(config)
	addr, err := handshake(ctx, client)
	if err != nil {
		return nil, plain(err, o.Timeout)
	}
	unix, ok := addr.(*net.UnixAddr)
	if !ok {
		return nil, fmt.Errorf("it listens on %s %s; a driver listens on a unix socket", addr.Network(), addr)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	started, err := startTime(child.pid())
	if err != nil {
		return nil, err
	}
	p := &Process{
		state: State{
			PID: child.pid(), Started: started, Boot: boot, Socket: unix.Name,
			Protocol: client.NegotiatedVersion(), Dir: o.Dir,
		},
		done: child.done, exit: child.exit,
	}
	if err := p.connect(ctx, client); err != nil {
		return nil, err
	}
	return p, nil
}

// handshake waits for go-plugin, which knows no context.
func handshake(ctx context.Context, client *plugin.Client) (net.Addr, error) {
	type outcome struct {
		addr net.Addr
		err  error
	}
	result := make(chan outcome, 1)
	go func() {
		addr, err := client.Start()
		result <- outcome{addr, err}
	}()
	select {
	case o := <-result:
		return o.addr, o.err
	case <-ctx.Done():
		return nil, ctx.Err() // the caller kills the process, which ends client.Start
	}
}

func clientConfig(dir string, logger hclog.Logger) (*plugin.ClientConfig, error) {
	own, err := readIdentity(dir, hostCert, hostKey)
	if err != nil {
		return nil, err
	}
	peer, err := os.ReadFile(filepath.Join(dir, driverCert))
	if err != nil {
		return nil, fmt.Errorf("keys of the launch: %w", err)
	}
	tlsConfig, err := wire.ClientTLS(own, peer)
	if err != nil {
		return nil, fmt.Errorf("keys of the launch in %s: %w", dir, err)
	}
	return &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ClientPlugins(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        tlsConfig,
		Logger:           logger,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(
				grpc.MaxCallRecvMsgSize(wire.MaxMessageBytes), grpc.MaxCallSendMsgSize(wire.MaxMessageBytes)),
		},
	}, nil
}

func command(o Options) *exec.Cmd {
	cmd := exec.Command(o.Path)
	cmd.Dir = o.Dir
	cmd.Env = append(append([]string{}, o.Env...),
		wire.EnvCertificate+"="+filepath.Join(o.Dir, driverCert),
		wire.EnvKey+"="+filepath.Join(o.Dir, driverKey),
		wire.EnvHostCertificate+"="+filepath.Join(o.Dir, hostCert),
		wire.EnvLog+"="+o.Log,
	)
	return cmd
}

// makeKeys makes the launch directory with one key pair for each side.
func makeKeys(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("directory of the launch: %w", err)
	}
	for _, side := range []struct{ name, cert, key string }{{"driver", driverCert, driverKey}, {"host", hostCert, hostKey}} {
		id, err := wire.NewIdentity("instar " + side.name)
		if err != nil {
			return err
		}
		err = errors.Join(
			os.WriteFile(filepath.Join(dir, side.cert), id.Certificate, 0o600),
			os.WriteFile(filepath.Join(dir, side.key), id.Key, 0o600))
		if err != nil {
			return fmt.Errorf("keys of the launch: %w", err)
		}
	}
	return nil
}

func readIdentity(dir, cert, key string) (wire.Identity, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, cert))
	if err != nil {
		return wire.Identity{}, fmt.Errorf("keys of the launch: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, key))
	if err != nil {
		return wire.Identity{}, fmt.Errorf("keys of the launch: %w", err)
	}
	return wire.Identity{Certificate: certPEM, Key: keyPEM}, nil
}

// Driver returns the client of the given kind.
func (p *Process) Driver(kind sdk.Kind) (sdk.Driver, error) { return wire.NewClient(kind, p.conn) }
