package main

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/progress"
	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) instanceCommand() *cli.Command {
	return &cli.Command{Name: "instance", Usage: "instances: list, show, replace", Subcommands: []*cli.Command{
		{
			Name: "list", Aliases: []string{"ls"}, Usage: "instances of one or every service", ArgsUsage: "[SERVICE]",
			Description: "Example:\n  instar instance list shop -revision 2",
			Flags:       []cli.Flag{&cli.StringFlag{Name: "node"}, &cli.IntFlag{Name: "revision"}}, Action: u.instanceList,
		},
		{
			Name: "show", Usage: "one instance", ArgsUsage: "INSTANCE", Description: "Example:\n  instar instance show shop-7f3k2m",
			Flags: []cli.Flag{atFlag()}, Action: u.instanceShow,
		},
		{
			Name: "replace", Usage: "replace an instance by a new one of its revision", ArgsUsage: "INSTANCE",
			Description: "Example:\n  instar instance replace shop-7f3k2m",
			Flags:       []cli.Flag{&cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}}, Action: u.instanceReplace,
		},
	}}
}

func (u *ui) instanceList(c *cli.Context) error {
	if c.NArg() > 1 {
		return usage("one service at a time")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[core.InstanceView], error) {
		l.Service, l.Node, l.Revision = c.Args().First(), c.String("node"), c.Int("revision")
		return api.Instances(c.Context, l)
	})
	if err != nil {
		return err
	}
	return u.show(c, items, func() error { return u.instanceTable(items) })
}

func (u *ui) instanceTable(items []core.InstanceView) error {
	t := table.New("INSTANCE", "REVISION", "NODE", "STATE", "WANTED", "ADDRESSES", "AGE", "NOTE")
	for _, v := range items {
		i := &v.Instance
		t.Row(i.ID, strconv.Itoa(i.Revision), i.Node, phase(u.style, v), string(i.Desired), addresses(v.Status), span(time.Since(i.Created)), note(v))
	}
	if t.Len() == 0 {
		say(u.out, "no instances\n")
		return nil
	}
	return t.Write(u.out, u.style)
}

func addresses(s *core.InstanceStatus) string {
	if s == nil {
		return ""
	}
	out := make([]string, 0, len(s.Addresses))
	for name, a := range s.Addresses {
		out = append(out, name+"="+a)
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func note(v core.InstanceView) string {
	switch {
	case v.Status != nil && v.Status.Failure != nil:
		return value(v.Status.Failure.Message)
	case v.Status != nil && v.Status.Unhealthy != "":
		return value(v.Status.Unhealthy)
	case v.Status != nil && v.Status.Fetch != nil:
		return strings.TrimSpace(progress.Has(*v.Status.Fetch))
	}
	return value(v.Instance.Reason)
}

func (u *ui) instanceShow(c *cli.Context) error {
	id, err := one(c, "instance")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	v, err := api.Instance(c.Context, id, c.Uint64("at"))
	if err != nil {
		return err
	}
	return u.show(c, v, func() error {
		data, err := toYAMLValue(v)
		if err != nil {
			return err
		}
		say(u.out, "%s", data)
		return nil
	})
}

func (u *ui) instanceReplace(c *cli.Context) error {
	id, err := one(c, "instance")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	a, err := api.ReplaceInstance(c.Context, client.Write{Reason: c.String("reason")}, id)
	if err != nil {
		return err
	}
	return u.applied(c, api, a)
}

func (u *ui) logsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "output of an instance, or of every instance of a service", ArgsUsage: "INSTANCE|SERVICE",
		Description: "Example:\n  instar logs shop -f -tail 20",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "f", Aliases: []string{"follow"}, Usage: "go on with what is written from now on"},
			&cli.IntFlag{Name: "tail", Usage: "only the last n lines that exist; 0: all"},
		},
		Action: u.logs,
	}
}

func (u *ui) logs(c *cli.Context) error {
	name, err := one(c, "instance or service")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	ids, err := u.logged(c.Context, api, name)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		wg.Go(func() { errs[i] = u.stream(c, api, id, len(ids) > 1, &mu) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && c.Err() == nil {
			return err
		}
	}
	return nil
}

// logged finds the instances that a name means: one instance, or all of a service.
func (u *ui) logged(ctx context.Context, api *client.Client, name string) ([]string, error) {
	_, err := api.Instance(ctx, name, 0)
	if err == nil {
		return []string{name}, nil
	}
	if !core.IsNotFound(err) {
		return nil, err
	}
	if _, svcErr := api.Service(ctx, name, 0); svcErr != nil {
		return nil, core.Errorf(core.CodeNotFound, "%q is neither an instance nor a service", name).WithHint("instar instance list shows them")
	}
	items, err := pages(func(l client.List) (core.Page[core.InstanceView], error) {
		l.Service = name
		return api.Instances(ctx, l)
	})
	ids := make([]string, 0, len(items))
	for i := range items {
		ids = append(ids, items[i].Instance.ID)
	}
	return ids, err
}

func (u *ui) stream(c *cli.Context, api *client.Client, id string, named bool, mu *sync.Mutex) error {
	for line, err := range api.Logs(c.Context, id, c.Bool("f"), c.Int("tail")) {
		if err != nil {
			return err
		}
		mu.Lock()
		err = u.logLine(c, id, line, named)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *ui) logLine(c *cli.Context, id string, line core.LogLine, named bool) error {
	if machine(c) {
		return u.show(c, map[string]any{"instance": id, "line": line}, nil)
	}
	text := line.Text
	if u.terminal {
		text = table.Clean(text)
	}
	if named {
		text = u.style.Faint(id+" ") + text
	}
	_, err := fmt.Fprintln(u.out, text)
	return err
}
