package process

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/sdk"
)

// viewSupport says whether instances get a mount namespace of their own, and if not, why.
type viewSupport struct{ reason string }

func (v viewSupport) ok() bool { return v.reason == "" }

// probeView tries it: capabilities, seccomp and security modules may all forbid it.
func probeView() viewSupport {
	if os.Geteuid() != 0 {
		return viewSupport{reason: "the driver is not root"}
	}
	result := make(chan error)
	go func() {
		// The thread is in the new namespace; it ends with this goroutine because it stays locked to it.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
		}
		result <- err
	}()
	if err := <-result; err != nil {
		return viewSupport{reason: fmt.Sprintf("mount namespaces cannot be made: %v", err)}
	}
	return viewSupport{}
}

// planView decides what an instance with the given user sees of the state directory.
func (t *target) planView(uid, gid *int, own, tree string) (*launch.View, error) {
	if uid == nil {
		return nil, nil
	}
	hide, err := launch.HideFor(t.dir, *uid, *gid)
	if err != nil {
		return nil, err
	}
	if t.view.ok() {
		v := &launch.View{Hide: hide, Writable: []string{own}}
		if tree != "" {
			v.ReadOnly = []string{tree}
		}
		return v, nil
	}
	if hide != t.dir {
		return nil, sdk.Unavailable(0, "instances run as user %d, which cannot pass through %s to the state directory, and %s: "+
			"give it the right to (chmod o+x), or set user of the target", *uid, hide, t.view.reason)
	}
	return nil, nil
}
