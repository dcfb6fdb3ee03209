// Package port gives out port numbers, each to one instance at a time.
package port

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/instarhq/instar/sdk"
)

// Range is a range of port numbers, both ends included.
type Range struct{ First, Last int }

// ParseRange reads "FIRST-LAST".
func ParseRange(text string) (Range, error) {
	first, last, ok := strings.Cut(text, "-")
	a, errA := strconv.Atoi(strings.TrimSpace(first))
	b, errB := strconv.Atoi(strings.TrimSpace(last))
	if !ok || errA != nil || errB != nil || a < 1 || b > 65535 || a > b {
		return Range{}, fmt.Errorf("%q is no range of port numbers such as 20000-29999", text)
	}
	return Range{First: a, Last: b}, nil
}

// Overlap returns the numbers of the range from which the kernel takes ports for outgoing connections:
// one of those can be gone between the moment it is given to an instance and the moment it listens.
func (r Range) Overlap() (Range, bool) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return Range{}, false
	}
	var kernel Range
	if _, err := fmt.Sscan(string(data), &kernel.First, &kernel.Last); err != nil {
		return Range{}, false
	}
	both := Range{First: max(r.First, kernel.First), Last: min(r.Last, kernel.Last)}
	return both, both.First <= both.Last
}

// String is what ParseRange reads.
func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Pool knows which instance has which port.
type Pool struct {
	mu     sync.Mutex
	within Range
	next   int            // where the search for a free one begins
	owners map[int]string // by number
}

// NewPool returns a pool without owners.
func NewPool() *Pool { return &Pool{owners: map[int]string{}} }

// SetRange sets from which numbers ports are chosen; those that are given out stay. seed says where in
// the range the first search begins.
func (p *Pool) SetRange(r Range, seed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r != p.within {
		p.within = r
		p.next = r.First + seed%(r.Last-r.First+1)
	}
}

// Restore notes ports that an instance has from an earlier life of the driver.
func (p *Pool) Restore(owner string, numbers map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range numbers {
		p.owners[n] = owner
	}
}

// Take gives ports to an instance: those with a number, and free ones for the others. It takes all or
// none.
func (p *Pool) Take(owner string, ports []sdk.Port) (map[string]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := map[string]int{}
	for _, port := range ports {
		number, err := p.take(port)
		if err == nil {
			if _, twice := taken[port.Name]; twice {
				err = sdk.InvalidConfig("port."+port.Name, "the port is declared twice")
			}
		}
		if err != nil {
			for _, n := range taken {
				delete(p.owners, n)
			}
			return nil, err
		}
		taken[port.Name] = number
		p.owners[number] = owner
	}
	return taken, nil
}

func (p *Pool) take(port sdk.Port) (int, error) {
	if port.Number != 0 {
		return port.Number, p.claim("port."+port.Name, port.Number)
	}
	for range p.within.Last - p.within.First + 1 {
		n := p.next
		if p.next++; p.next > p.within.Last {
			p.next = p.within.First
		}
		if p.owners[n] == "" && free(n) == nil {
			return n, nil
		}
	}
	return 0, sdk.Unavailable(0, "no port is free in %s for port %q: raise port_range of the target", p.within, port.Name)
}

// claim checks that a number which the service asks for can be had.
func (p *Pool) claim(attribute string, number int) error {
	if number < 1 || number > 65535 {
		return sdk.InvalidConfig(attribute, "%d is no port number", number)
	}
	if owner := p.owners[number]; owner != "" {
		return conflict(attribute, "port %d belongs to instance %s; without a number each instance gets its own", number, owner)
	}
	err := free(number)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return conflict(attribute, "port %d is in use by another program on this node", number)
	case errors.Is(err, syscall.EACCES):
		return sdk.InvalidConfig(attribute, "port %d is privileged: choose one above 1023, or none", number)
	}
	return err
}

func conflict(attribute, format string, args ...any) error {
	return &sdk.Error{Code: sdk.CodeConflict, Attribute: attribute, Message: fmt.Sprintf(format, args...)}
}

// free tries a number on all addresses at once: whatever the instance listens on, nobody has it.
func free(number int) error {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(number))
	if err != nil {
		return fmt.Errorf("try port %d: %w", number, err)
	}
	return l.Close()
}

// Release takes back all ports of an instance.
func (p *Pool) Release(owner string, numbers map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range numbers {
		if p.owners[n] == owner {
			delete(p.owners, n)
		}
	}
}
