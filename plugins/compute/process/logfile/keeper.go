// Package logfile keeps the output of instances.
//
// An instance writes into plain files, opened for appending, and nothing stands between it and them: it
// goes on writing while the driver is away. The size is bounded from behind: the driver gives the oldest
// blocks of a file back to the file system by punching a hole, which the writer does not notice, loses no
// line that is still wanted, and leaves every offset as it was, so that readers need not know. (Renaming
// would need the writer's cooperation, copying and truncating loses what is written in between, and a
// pipe breaks with the process that reads it.) The apparent size of a file grows; the space that it takes
// does not. File systems that cannot punch holes get their files truncated.
//
// The time of a line comes from an index that the driver writes beside the files as they grow. What was
// written while no driver was there has no time.
package logfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Folder is the folder, in an instance's directory, that holds the output files.
const Folder = "log"

// The output streams, which are also the names of their files.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// pause is how long the keeper lets writes pile up before it looks again. It is also how precise the
// times of lines are.
const pause = 50 * time.Millisecond

// Keeper bounds, times and reads the logs of all instances of a target. It sleeps while nothing is
// written.
type Keeper struct {
	events *os.File // inotify
	fd     int      // of events; (*os.File).Fd would make its reads block a thread
	done   chan struct{}
	loop   sync.WaitGroup

	mu      sync.Mutex
	logs    map[string]*instanceLog
	watches map[int32]*instanceLog
}

// instanceLog is the log of one instance. Its streams belong to the Keeper's lock.
type instanceLog struct {
	dir     string
	watch   int32
	streams []*stream
	changed chan struct{} // closed, and replaced, when something was written
	gone    chan struct{} // closed when the log is removed
}

// NewKeeper starts a keeper.
func NewKeeper() (*Keeper, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("start inotify (see /proc/sys/fs/inotify): %w", err)
	}
	k := &Keeper{
		events: os.NewFile(uintptr(fd), "inotify"), fd: fd, done: make(chan struct{}),
		logs: map[string]*instanceLog{}, watches: map[int32]*instanceLog{},
	}
	k.loop.Go(k.run)
	return k, nil
}

// Close stops the keeper. The files stay, and whoever follows one is let go.
func (k *Keeper) Close() error {
	close(k.done)
	err := k.events.Close()
	k.loop.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.logs {
		k.forget(id)
	}
	return err
}

// Add begins to keep the log of an instance with the given directory, each stream up to max bytes.
func (k *Keeper) Add(id, dir string, most int64) error {
	folder := filepath.Join(dir, Folder)
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return err
	}
	wd, err := unix.InotifyAddWatch(k.fd, folder, unix.IN_MODIFY|unix.IN_ONLYDIR)
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("no inotify watch is left for %s: raise fs.inotify.max_user_watches: %w", folder, unix.EAGAIN)
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", folder, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.logs[id] != nil {
		return nil
	}
	l := &instanceLog{dir: dir, watch: int32(wd), changed: make(chan struct{}), gone: make(chan struct{})}
	for _, name := range []string{Stdout, Stderr} {
		l.streams = append(l.streams, openStream(dir, name, most))
	}
	k.logs[id], k.watches[l.watch] = l, l
	return nil
}

// Remove ends keeping an instance's log, and all reading that follows it.
func (k *Keeper) Remove(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := k.logs[id]; l != nil {
		// It fails if the folder is gone, and the watch with it.
		_, _ = unix.InotifyRmWatch(k.fd, uint32(l.watch))
		k.forget(id)
	}
}

func (k *Keeper) forget(id string) {
	l := k.logs[id]
	delete(k.logs, id)
	delete(k.watches, l.watch)
	close(l.gone)
}

func (k *Keeper) run() {
	buffer := make([]byte, 64<<10)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		n, err := k.events.Read(buffer)
		if err != nil {
			return // closed
		}
		k.handle(buffer[:n])
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-k.done:
			return
		}
	}
}

// handle looks at every log that events name, once.
func (k *Keeper) handle(events []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	dirty := map[*instanceLog]bool{}
	for len(events) >= unix.SizeofInotifyEvent {
		watch := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[unix.SizeofInotifyEvent+int(name):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, l := range k.logs {
				dirty[l] = true
			}
		}
		if l := k.watches[watch]; l != nil {
			dirty[l] = true
		}
	}
	now := time.Now()
	for l := range dirty {
		for _, s := range l.streams {
			s.update(now)
		}
		close(l.changed)
		l.changed = make(chan struct{})
	}
}
