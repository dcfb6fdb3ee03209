package process

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/instarhq/instar/sdk"
)

// users gives every instance a user id of its own.
//
// A shared account such as nobody would let instances signal and trace each other and read each other's
// environment and files; and it is not even ours alone. With an id of its own, the kernel keeps an
// instance from everything that is not its, and every process that it leaves behind can be found by it.
type users struct {
	mu     sync.Mutex
	within idRange
	next   int
	owners map[int]string
}

// take gives an instance an id that was not in use lately.
func (u *users) take(owner string) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for range u.within.last - u.within.first + 1 {
		id := u.next
		if u.next++; u.next > u.within.last {
			u.next = u.within.first
		}
		if u.owners[id] == "" {
			u.owners[id] = owner
			return id, nil
		}
	}
	return 0, sdk.Unavailable(0, "no user id is free in %d-%d: raise uid_range of the target", u.within.first, u.within.last)
}

func (u *users) setRange(r idRange, seed int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r != u.within {
		u.within = r
		u.next = r.first + seed%(r.last-r.first+1)
	}
}

func (u *users) restore(owner string, id int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.owners[id] = owner
}

func (u *users) release(owner string, id int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.owners[id] == owner {
		delete(u.owners, id)
	}
}

// chooseUser decides what an instance runs as: nil for the driver's own user. own reports that the id is
// the instance's alone, and was taken for it.
func (t *target) chooseUser(id, asked string) (uid, gid *int, own bool, err error) {
	cfg := t.settings()
	if asked != "" && asked != cfg.User && !slices.Contains(cfg.AllowedUsers, asked) {
		return nil, nil, false, sdk.InvalidConfig("user",
			"this target does not allow %q; an administrator can add it to allowed_users of the target", asked)
	}
	if asked == "" {
		asked = cfg.User
	}
	if os.Geteuid() != 0 {
		if asked != "" && !isSelf(asked) {
			return nil, nil, false, sdk.InvalidConfig("user", "the driver is not root and cannot become %q", asked)
		}
		return nil, nil, false, nil
	}
	if asked != "" {
		u, g, err := lookUp(asked)
		if err != nil {
			return nil, nil, false, sdk.InvalidConfig("user", "%w", err)
		}
		return &u, &g, false, nil
	}
	n, err := t.users.take(id)
	if err != nil {
		return nil, nil, false, err
	}
	g := n
	return &n, &g, true, nil
}

func isSelf(name string) bool {
	uid, _, err := lookUp(name)
	return err == nil && uid == os.Geteuid()
}

// lookUp finds a user by name or number.
func lookUp(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, convErr := strconv.Atoi(name); convErr != nil {
			return 0, 0, fmt.Errorf("this node has no user %q: %w", name, err)
		}
		if u, err = user.LookupId(name); err != nil {
			return 0, 0, fmt.Errorf("this node has no user with number %s: %w", name, err)
		}
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// mapped reports whether the ids exist in the user namespace of the driver: in a container they may not.
func (r idRange) mapped() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true // no user namespaces in this kernel
	}
	for line := range strings.Lines(string(data)) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && r.first >= inside && r.last < inside+count {
			return true
		}
	}
	return false
}
