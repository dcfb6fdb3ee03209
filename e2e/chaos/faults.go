package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// fault is one kind of trouble.
type fault struct {
	name   string
	weight int
	// noticed: customers may notice it, because it is about their way or about instances.
	noticed bool
	begin   func(ctx context.Context, r *run, at int, random *rand.Rand) error
	end     func(ctx context.Context, r *run, at int) error // nil: start what is down, heal the network
}

// The hosts of a fault are numbered from 0, those of the lab from 1.
var faults = []fault{
	{name: "a daemon is killed", weight: 4, begin: func(_ context.Context, r *run, at int, _ *rand.Rand) error { return r.kill(at) }},
	{name: "the leader is killed", weight: 6, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error { return r.kill(r.leader(ctx, at)) }},
	{name: "a daemon stands still", weight: 3, begin: func(_ context.Context, r *run, at int, _ *rand.Rand) error { return r.cluster.Nodes[at].Pause() }},
	{name: "the leader stands still", weight: 4, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return r.cluster.Nodes[r.leader(ctx, at)].Pause()
	}},
	{name: "two daemons are killed", weight: 2, begin: func(_ context.Context, r *run, at int, _ *rand.Rand) error {
		return errors.Join(r.kill(at), r.kill(r.other(at, 1)))
	}},
	{name: "a link is cut", weight: 3, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return r.lab.Part(ctx, at+1, r.other(at, 1)+1)
	}},
	{name: "the leader is cut off", weight: 4, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return r.lab.Isolate(ctx, r.leader(ctx, at)+1)
	}},
	{name: "a host is cut off", weight: 2, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return r.lab.Isolate(ctx, at+1)
	}},
	{name: "the leader is not heard", weight: 3, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		leader := r.leader(ctx, at)
		return errors.Join(r.lab.Cut(ctx, leader+1, r.other(leader, 1)+1), r.lab.Cut(ctx, leader+1, r.other(leader, 2)+1))
	}},
	{name: "the leader does not hear", weight: 3, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		leader := r.leader(ctx, at)
		return errors.Join(r.lab.Cut(ctx, r.other(leader, 1)+1, leader+1), r.lab.Cut(ctx, r.other(leader, 2)+1, leader+1))
	}},
	{name: "two hosts reach each other through the third only", weight: 2, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return r.lab.Part(ctx, r.other(at, 1)+1, r.other(at, 2)+1)
	}},
	{name: "a cable flaps", weight: 2, noticed: true, begin: func(ctx context.Context, r *run, at int, random *rand.Rand) error {
		for range 3 + random.IntN(4) {
			if err := r.lab.Unplug(ctx, at+1, true); err != nil {
				return err
			}
			r.rest(ctx, time.Duration(100+random.IntN(600))*time.Millisecond)
			if err := r.lab.Unplug(ctx, at+1, false); err != nil {
				return err
			}
			r.rest(ctx, time.Duration(100+random.IntN(600))*time.Millisecond)
		}
		return nil
	}},
	{name: "a host vanishes", weight: 3, noticed: true, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return errors.Join(r.lab.Unplug(ctx, at+1, true), r.lab.Vanish(ctx, at+1))
	}, end: func(ctx context.Context, r *run, at int) error {
		return errors.Join(r.lab.Unplug(ctx, at+1, false), r.revive(ctx))
	}},
	{name: "a disk is full", weight: 2, noticed: true, begin: func(_ context.Context, r *run, at int, _ *rand.Rand) error {
		return errors.Join(fill(r.disk(at)), fill(r.store(at)))
	}, end: emptied},
	{name: "the leader's store is full", weight: 2, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		return fill(r.store(r.leader(ctx, at)))
	}, end: emptied},
	{name: "a clock jumps", weight: 3, begin: func(ctx context.Context, r *run, at int, random *rand.Rand) error {
		return r.step(ctx, jump(random), at)
	}, end: clocksRight},
	{name: "the leader's clock jumps", weight: 4, begin: func(ctx context.Context, r *run, at int, random *rand.Rand) error {
		offset := jump(random)
		return r.step(ctx, offset, r.leader(ctx, at))
	}, end: clocksRight},
	{name: "the followers' clocks jump, and the leader is killed", weight: 2, begin: func(ctx context.Context, r *run, at int, random *rand.Rand) error {
		offset, leader := jump(random), r.leader(ctx, at)
		return errors.Join(r.step(ctx, offset, r.other(leader, 1), r.other(leader, 2)), r.kill(leader))
	}, end: clocksRight},
	{name: "a daemon dies and comes back to a disk that cannot be written to", weight: 2, begin: func(ctx context.Context, r *run, at int, _ *rand.Rand) error {
		if err := errors.Join(r.kill(at), r.remount(ctx, at, "ro")); err != nil {
			return err
		}
		if r.cluster.Nodes[at].StartAgain(ctx) == nil {
			return fmt.Errorf("n%d runs on a disk that it cannot write to", at+1)
		}
		return nil
	}, end: func(ctx context.Context, r *run, _ int) error {
		return errors.Join(r.remount(ctx, -1, "rw"), r.revive(ctx))
	}},
}

// jumps are how far clocks jump, both ways.
var jumps = []time.Duration{time.Second, 10 * time.Minute, 24 * time.Hour}

func jump(random *rand.Rand) time.Duration {
	offset := jumps[random.IntN(len(jumps))]
	if random.IntN(2) == 0 {
		return -offset
	}
	return offset
}

// clocksRight sets every clock right, which is a jump again.
func clocksRight(ctx context.Context, r *run, _ int) error {
	return errors.Join(r.revive(ctx), r.step(ctx, 0, 0, 1, 2))
}

// step is one entry of a schedule.
type step struct {
	fault *fault
	at    int
	gap   time.Duration // before it
	hold  time.Duration // from its beginning to its end
}

// next draws a step: the schedule depends on the seed alone.
func next(random *rand.Rand, hosts int) step {
	total := 0
	for i := range faults {
		total += faults[i].weight
	}
	s := step{at: random.IntN(hosts), gap: time.Duration(2000+random.IntN(6000)) * time.Millisecond, hold: time.Duration(1000+random.IntN(8000)) * time.Millisecond}
	pick := random.IntN(total)
	for i := range faults {
		if pick -= faults[i].weight; pick < 0 {
			s.fault = &faults[i]
			break
		}
	}
	return s
}

// emptied takes the fillers away, wherever they are.
func emptied(ctx context.Context, r *run, _ int) error {
	var errs []error
	for i := range hosts {
		for _, dir := range []string{r.disk(i), r.store(i)} {
			if err := os.Remove(filepath.Join(dir, filler)); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(append(errs, r.revive(ctx))...)
}

// filler is the file that fills a disk.
const filler = "filler"

// fill takes all that is left of a file system.
func fill(dir string) error {
	f, err := os.Create(filepath.Join(dir, filler))
	if err != nil {
		return err
	}
	block := make([]byte, 1<<16)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2
		}
	}
	return f.Close()
}

// diskBytes is the size of a host's disk.
const diskBytes = 512 << 20

// mount makes the disk of a host.
func mount(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	return sh(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0711", diskBytes), "instar-chaos", dir)
}

func sh(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}
