// Package lab makes several hosts out of this machine: network namespaces joined by a switch, whose
// links can be cut in one or both directions. It needs root, and Debian's iproute2 and nftables.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// network is the hosts' network, which exists inside of the namespaces only. Host i is at .i, the
// clients are at .200.
const (
	network = "10.177.0."
	clients = 200 // of the host's own number, so that hosts may have those from 1 on
)

// table is the nftables table, in each host's namespace, that drops what a cut link would not deliver.
const table = "lab"

// serial keeps the names of several labs in one process apart.
var serial atomic.Int64

// Lab is a set of hosts. Make one with New and Close it.
type Lab struct {
	prefix string
	hosts  int

	mu  sync.Mutex
	cut map[link]bool
}

// link is the way of packets from one host to another.
type link struct{ from, to int }

// New makes hosts 1 to n, and one for clients. With an error nothing is left.
func New(ctx context.Context, n int) (*Lab, error) {
	l := &Lab{prefix: fmt.Sprintf("il%d-%d-", os.Getpid(), serial.Add(1)), hosts: n, cut: map[link]bool{}}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make network namespaces (this needs root): %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	steps := [][]string{
		{"netns", "add", l.prefix + "sw"},
		{"-n", l.prefix + "sw", "link", "add", "br0", "type", "bridge"},
		{"-n", l.prefix + "sw", "link", "set", "br0", "up"},
	}
	for _, i := range l.all() {
		name, port := l.namespace(i), "p"+strconv.Itoa(i)
		steps = append(steps,
			[]string{"netns", "add", name},
			[]string{"-n", l.prefix + "sw", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name},
			[]string{"-n", l.prefix + "sw", "link", "set", port, "master", "br0", "up"},
			[]string{"-n", name, "addr", "add", l.Address(i) + "/24", "dev", "eth0"},
			[]string{"-n", name, "link", "set", "lo", "up"},
			[]string{"-n", name, "link", "set", "eth0", "up"},
		)
	}
	for _, args := range steps {
		if err := ip(ctx, args...); err != nil {
			return err
		}
	}
	for i := 1; i <= l.hosts; i++ {
		rules := "add table inet " + table + "; add chain inet " + table + " in { type filter hook input priority 0; }"
		if err := l.nft(ctx, i, rules); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) all() []int {
	out := []int{clients}
	for i := 1; i <= l.hosts; i++ {
		out = append(out, i)
	}
	return out
}

func (l *Lab) namespace(i int) string { return l.prefix + strconv.Itoa(i) }

// Address is the IP address of host i.
func (l *Lab) Address(i int) string { return network + strconv.Itoa(i) }

// Wrap is the command line that runs a command on host i. What it starts stays there.
func (l *Lab) Wrap(i int, command []string) []string {
	return append([]string{"ip", "netns", "exec", l.namespace(i)}, command...)
}

// Cut stops packets from one host to another. The other way they go on.
func (l *Lab) Cut(ctx context.Context, from, to int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut[link{from, to}] {
		return nil
	}
	if err := l.nft(ctx, to, fmt.Sprintf("add rule inet %s in ip saddr %s drop", table, l.Address(from))); err != nil {
		return err
	}
	l.cut[link{from, to}] = true
	return nil
}

// Part stops packets between two hosts both ways.
func (l *Lab) Part(ctx context.Context, a, b int) error {
	return errors.Join(l.Cut(ctx, a, b), l.Cut(ctx, b, a))
}

// Isolate parts a host from all others, but not from the clients.
func (l *Lab) Isolate(ctx context.Context, i int) error {
	var errs []error
	for other := 1; other <= l.hosts; other++ {
		if other != i {
			errs = append(errs, l.Part(ctx, i, other))
		}
	}
	return errors.Join(errs...)
}

// Heal makes every link whole.
func (l *Lab) Heal(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for i := 1; i <= l.hosts; i++ {
		errs = append(errs, l.nft(ctx, i, "flush chain inet "+table+" in"))
	}
	clear(l.cut)
	return errors.Join(errs...)
}

// Unplug takes a host's cable out, or puts it in again.
func (l *Lab) Unplug(ctx context.Context, i int, out bool) error {
	state := "up"
	if out {
		state = "down"
	}
	return ip(ctx, "-n", l.prefix+"sw", "link", "set", "p"+strconv.Itoa(i), state)
}

func (l *Lab) nft(ctx context.Context, i int, rules string) error {
	return ip(ctx, append([]string{"netns", "exec", l.namespace(i), "nft"}, rules)...)
}

// Vanish ends every process of a host with SIGKILL, as the end of its power would.
func (l *Lab) Vanish(ctx context.Context, i int) error {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", l.namespace(i)).Output()
	if err != nil {
		return fmt.Errorf("processes of host %d: %w", i, err)
	}
	for _, word := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return fmt.Errorf("processes of host %d: %w", i, err)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end process %d of host %d: %w", pid, i, err)
		}
	}
	return nil
}

// Close removes the hosts. Processes on them must have ended.
func (l *Lab) Close() error {
	var errs []error
	for _, name := range append([]string{l.prefix + "sw"}, l.names()...) {
		if _, err := os.Stat("/run/netns/" + name); err == nil {
			errs = append(errs, ip(context.Background(), "netns", "del", name))
		}
	}
	return errors.Join(errs...)
}

func (l *Lab) names() []string {
	var out []string
	for _, i := range l.all() {
		out = append(out, l.namespace(i))
	}
	return out
}

// Dial connects from where the clients are.
func (l *Lab) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return l.DialFrom(ctx, clients, network, address)
}

// DialFrom connects from host i.
func (l *Lab) DialFrom(ctx context.Context, i int, network, address string) (conn net.Conn, err error) {
	if enterErr := l.enter(i, func() { conn, err = (&net.Dialer{KeepAlive: -1}).DialContext(ctx, network, address) }); enterErr != nil {
		return nil, enterErr
	}
	return conn, err
}

// Listen listens on host i.
func (l *Lab) Listen(ctx context.Context, i int, network, address string) (listener net.Listener, err error) {
	if enterErr := l.enter(i, func() { listener, err = (&net.ListenConfig{}).Listen(ctx, network, address) }); enterErr != nil {
		return nil, enterErr
	}
	return listener, err
}

// enter runs fn on a thread that is on a host. A socket belongs to the namespace in which it was made,
// wherever it is used; names are addresses here, so that nothing else has to be looked up on the way.
func (l *Lab) enter(i int, fn func()) error {
	name := l.namespace(i)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := os.Open("/run/netns/" + name)
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = ns.Close() }() // only a handle
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", name, err)
			return
		}
		fn()
		done <- nil
	}()
	return <-done
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
