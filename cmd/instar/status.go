package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/progress"
	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

func (u *ui) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "the cluster in one screen",
		Description: "Example:\n  instar status",
		Action:      u.status,
	}
}

func (u *ui) status(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	s, err := api.Status(c.Context)
	if err != nil {
		return err
	}
	return u.show(c, s, func() error { return u.printStatus(&s) })
}

func (u *ui) printStatus(s *core.Status) error {
	leader := s.Leader
	if leader == "" {
		leader = u.style.Bad("none: writes have to wait")
	}
	say(u.out, "%s %s   leader %s   instard %s   record %d\n", u.style.Bold("cluster"), s.Origin, leader, s.Version, s.Seq)
	for _, n := range s.Nodes {
		for _, t := range n.Targets {
			if !t.Healthy {
				say(u.out, "%s %s %s %q on %s: %s\n", u.style.Bad("!"), t.Kind, t.Driver, t.Name, n.Name, table.Clean(t.Reason))
			}
		}
	}
	say(u.out, "\n")
	if err := u.serviceTable(s.Services); err != nil {
		return err
	}
	for i := range s.Services {
		v := &s.Services[i]
		if v.Rollout != nil && !v.Rollout.Rollout.Phase.Done() {
			say(u.out, "\n")
			u.printRollout(v.Rollout)
		}
		u.printTroubles(v)
	}
	return nil
}

func (u *ui) printTroubles(v *core.ServiceView) {
	for _, t := range v.Troubles[:min(5, len(v.Troubles))] {
		say(u.out, "%s %s on %s: %s\n", u.style.Bad("!"), t.Instance, t.Node, table.Clean(t.Message))
	}
	if b := v.Service.Backoff; b != nil && b.Until.After(time.Now()) {
		say(u.out, "%s revision %d of %s has failed %d times; the next try is in %s\n",
			u.style.Warn("!"), b.Revision, v.Service.Name, b.Failures, span(time.Until(b.Until)))
	}
}

func (u *ui) printRollout(v *core.RolloutView) {
	for _, line := range progress.Lines(v, time.Now(), u.style) {
		say(u.out, "%s\n", line)
	}
}

func (u *ui) health(t core.Target) string {
	if t.Healthy {
		return u.style.Good("healthy")
	}
	return u.style.Bad(table.Clean(t.Reason))
}

func capacity(r core.Resources) string {
	if r.CPU == 0 && r.Memory == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f cores, %s", float64(r.CPU)/1000, size(r.Memory))
}

func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for ; value >= unit && i < 3; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[i])
}
