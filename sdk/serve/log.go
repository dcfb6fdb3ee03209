package serve

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk/wire"
)

// logOutput is where loggers write: standard error until redirectLog, the log file from then on.
// Loggers are often made in package variables, so they must follow.
var logOutput = &output{w: os.Stderr}

type output struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

func (o *output) set(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = w
}

// Logger returns a logger for a driver. It writes to the log file that the daemon has chosen, at the level
// that the daemon has chosen.
func Logger(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: name, Level: logLevel, Output: logOutput, TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	})
}

// logLevel is what the daemon has chosen.
var logLevel = func() hclog.Level {
	if l := hclog.LevelFromString(os.Getenv(wire.EnvLogLevel)); l != hclog.NoLevel {
		return l
	}
	return hclog.Info
}()

// logFile is the file that standard error has become; nil without one.
var logFile atomic.Pointer[rotatingFile]

// redirectLog replaces standard error by the log file, for loggers, for the runtime's own last words and
// for programs that the driver starts: a pipe to a daemon that has died would kill this process at the
// next line.
func redirectLog() error {
	path := os.Getenv(wire.EnvLog)
	if path == "" {
		return nil
	}
	file, err := openRotating(path, maxLogBytes)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	logFile.Store(file)
	logOutput.set(file)
	return nil
}

// takeBackOutput returns options that, at the first call, point os.Stdout, os.Stderr and file descriptor 1,
// which has served for the handshake, at the log file.
// go-plugin points them at pipes that only a connected daemon empties: a driver that prints would block as
// soon as the daemon is away. The pipes have been installed before the first call can arrive.
func takeBackOutput() []grpc.ServerOption {
	var once sync.Once
	take := func() {
		once.Do(func() {
			if logFile.Load() == nil {
				return
			}
			os.Stdout, os.Stderr = plainStderr, plainStderr
			if err := duplicate(plainStderr, 1); err != nil {
				fmt.Fprintf(plainStderr, "standard output stays with the daemon: %v\n", err)
			}
		})
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			take()
			return handler(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			take()
			return handler(srv, stream)
		}),
	}
}

// plainStderr is file descriptor 2 itself, whatever it refers to.
var plainStderr = os.Stderr
