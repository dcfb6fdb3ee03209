package main

import (
	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
)

func (u *ui) contextCommand() *cli.Command {
	return &cli.Command{Name: "context", Usage: "clusters that you have logged in to: list, use, show, remove", Subcommands: []*cli.Command{
		{Name: "list", Aliases: []string{"ls"}, Usage: "every context", Description: "Example:\n  instar context list", Action: u.contextList},
		{
			Name: "use", Usage: "speak to this one from now on", ArgsUsage: "NAME",
			Description: "Example:\n  instar context use prod\n\n-context, INSTAR_CONTEXT, -address and INSTAR_ADDR win over it.", Action: u.contextUse,
		},
		{Name: "show", Usage: "one context, without its secrets", ArgsUsage: "[NAME]", Description: "Example:\n  instar context show prod", Action: u.contextShow},
		{
			Name: "remove", Aliases: []string{"rm"}, Usage: "forget a context", ArgsUsage: "NAME",
			Description: "Example:\n  instar context remove prod\n\nIts token stays valid: instar token revoke ends that.", Action: u.contextRemove,
		},
	}}
}

// contextView is a context as it is shown.
type contextView struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Current     bool   `json:"current"`
	CA          bool   `json:"ca"` // the cluster's CA is pinned
	Token       bool   `json:"token"`
	Certificate bool   `json:"certificate"`
}

func (s contextStore) view(name string) (contextView, error) {
	c, err := s.load(name)
	if err != nil {
		return contextView{}, err
	}
	current, err := s.current()
	return contextView{
		Name: name, Address: c.Address, Current: name == current, CA: c.CA != "", Token: c.Token != "", Certificate: c.Certificate != "",
	}, err
}

// by says how a context authenticates.
func (v contextView) by() string {
	switch {
	case v.Certificate:
		return "certificate"
	case v.Token:
		return "token"
	}
	return ""
}

func (u *ui) contextList(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	store, err := contexts()
	if err != nil {
		return err
	}
	names, err := store.list()
	if err != nil {
		return err
	}
	views := []contextView{}
	for _, name := range names {
		v, err := store.view(name)
		if err != nil {
			return err
		}
		views = append(views, v)
	}
	return u.show(c, views, func() error {
		t := table.New("", "CONTEXT", "ADDRESS", "BY")
		for _, v := range views {
			mark := ""
			if v.Current {
				mark = "*"
			}
			t.Row(mark, v.Name, v.Address, v.by())
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) contextUse(c *cli.Context) error {
	name, err := one(c, "context")
	if err != nil {
		return err
	}
	store, err := contexts()
	if err != nil {
		return err
	}
	s, err := store.load(name)
	if err != nil {
		return err
	}
	if err := store.use(name); err != nil {
		return err
	}
	say(u.out, "%s at %s is used from now on\n", name, s.Address)
	return nil
}

func (u *ui) contextShow(c *cli.Context) error {
	store, err := contexts()
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name == "" {
		if name, err = store.current(); err != nil {
			return err
		}
	}
	if name == "" {
		return usage("no context is in use").withHint("instar login ADDRESS, or instar context use NAME")
	}
	v, err := store.view(name)
	if err != nil {
		return err
	}
	return u.show(c, v, func() error {
		say(u.out, "context   %s\naddress   %s\n", v.Name, v.Address)
		if by := v.by(); by != "" {
			say(u.out, "by        %s\n", by)
		}
		return nil
	})
}

func (u *ui) contextRemove(c *cli.Context) error {
	name, err := one(c, "context")
	if err != nil {
		return err
	}
	store, err := contexts()
	if err != nil {
		return err
	}
	if err := store.remove(name); err != nil {
		return err
	}
	say(u.out, "%s is forgotten here\n", name)
	return nil
}
