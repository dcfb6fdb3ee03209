package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// State is all that is needed, with the launch directory, to attach to a process again.
type State struct {
	PID      int    `json:"pid"`
	Started  uint64 `json:"started"` // clock ticks since boot: with Boot it tells a re-used pid
	Boot     string `json:"boot"`    // the kernel's boot id
	Socket   string `json:"socket"`
	Protocol int    `json:"protocol"`
	Dir      string `json:"dir"` // the launch directory
}

// Process is a driver's process that we are connected to.
type Process struct {
	state  State
	conn   *grpc.ClientConn
	done   chan struct{}
	exit   func() string
	detach sync.Once
	left   chan struct{} // closed by Detach; nil for a child, whose end is always awaited
}

// State returns what Attach needs.
func (p *Process) State() State { return p.state }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit describes how the process ended, as far as that can be known; empty if it has not.
func (p *Process) Exit() string { return p.exit() }

// connect lets go-plugin open the connection, within ctx.
func (p *Process) connect(ctx context.Context, client *plugin.Client) error {
	type outcome struct {
		protocol plugin.ClientProtocol
		err      error
	}
	result := make(chan outcome, 1)
	go func() {
		protocol, err := client.Client()
		result <- outcome{protocol, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if g, ok := (<-result).protocol.(*plugin.GRPCClient); ok {
				_ = g.Conn.Close() // came too late
			}
		}()
		return fmt.Errorf("connecting to %s: %w", p.state.Socket, ctx.Err())
	case o := <-result:
		if o.err != nil {
			return fmt.Errorf("connecting to %s: %w", p.state.Socket, o.err)
		}
		g, ok := o.protocol.(*plugin.GRPCClient)
		if !ok {
			return fmt.Errorf("it speaks %T and not gRPC", o.protocol)
		}
		p.conn = g.Conn
		return nil
	}
}

// Ping asks the process for a sign of life.
func (p *Process) Ping(ctx context.Context) error {
	_, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if err != nil {
		return fmt.Errorf("no sign of life: %w", err)
	}
	return nil
}

// Detach closes the connection and leaves the process running. go-plugin's own Kill and Close would end it.
func (p *Process) Detach() {
	p.detach.Do(func() {
		if p.conn != nil {
			_ = p.conn.Close() // fails only if it is closed
		}
		if p.left != nil {
			close(p.left)
		}
	})
}

// Stop ends the process: SIGTERM, and SIGKILL when ctx ends first. It returns when the process is gone,
// and detaches.
func (p *Process) Stop(ctx context.Context) error {
	defer p.Detach()
	defer func() { _ = os.Remove(p.state.Socket) }() // the process removes it itself, unless it was killed
	return Terminate(ctx, p.state)
}

// Terminate ends the process with the given state, if it still is the one that was launched: SIGTERM, and
// SIGKILL when ctx ends first. It returns when the process is gone.
func Terminate(ctx context.Context, s State) error {
	// The handle is taken before the check, and pins the process: a pid cannot be re-used in between.
	handle, err := os.FindProcess(s.PID)
	if err != nil {
		return nil // gone
	}
	defer func() { _ = handle.Release() }()
	if !s.Alive() {
		return nil
	}
	if err := signal(handle, syscall.SIGTERM); err != nil {
		return err
	}
	// A stopped process does not see SIGTERM.
	if err := signal(handle, syscall.SIGCONT); err != nil {
		return err
	}
	if err := s.awaitGone(ctx); err == nil {
		return nil
	}
	if err := signal(handle, syscall.SIGKILL); err != nil {
		return err
	}
	return s.awaitGone(context.Background())
}

func signal(handle *os.Process, sig syscall.Signal) error {
	err := handle.Signal(sig)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("signal %v to process %d: %w", sig, handle.Pid, err)
}
