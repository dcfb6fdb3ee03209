package dockertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
)

// subnet is what the engines' addresses are taken from. It is private (RFC 1918) and rarely used.
const subnet = "10.213.0.0/16"

// network is a network namespace with one link to the test's own.
type network struct {
	name            string
	link            string // the test's end
	outside, inside string // addresses of the two ends
}

func newNetwork(ctx context.Context) (_ *network, err error) {
	id := rand.IntN(1 << 14)
	base := id << 2 // a network of four addresses
	n := &network{
		name: fmt.Sprintf("instar-test-%d", id), link: fmt.Sprintf("instar%do", id),
		outside: fmt.Sprintf("10.213.%d.%d", base>>8, base&255+1), inside: fmt.Sprintf("10.213.%d.%d", base>>8, base&255+2),
	}
	if err := run(ctx, "ip", "netns", "add", n.name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.remove())
		}
	}()
	peer := fmt.Sprintf("instar%di", id)
	inside := []string{"ip", "-netns", n.name}
	for _, args := range [][]string{
		{"ip", "link", "add", n.link, "type", "veth", "peer", "name", peer, "netns", n.name},
		{"ip", "addr", "add", n.outside + "/30", "dev", n.link},
		{"ip", "link", "set", n.link, "up"},
		append(inside, "link", "set", "lo", "up"),
		append(inside, "addr", "add", n.inside+"/30", "dev", peer),
		append(inside, "link", "set", peer, "up"),
		append(inside, "route", "add", "default", "via", n.outside),
	} {
		if err := run(ctx, args[0], args[1:]...); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *network) file() string { return filepath.Join("/var/run/netns", n.name) }

// remove removes the namespace, and the link with it.
func (n *network) remove() error {
	_ = run(context.Background(), "ip", "link", "del", n.link) // it may not have been made
	return run(context.Background(), "ip", "netns", "del", n.name)
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
