package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) clusterCommand() *cli.Command {
	reason := &cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}
	return &cli.Command{Name: "cluster", Usage: "the members: init, join, token, status, leave, remove", Subcommands: []*cli.Command{
		{
			Name: "init", Usage: "begin a cluster on this node, which becomes its first voter",
			Description: "Example:\n  instar cluster init -name main\n\nOn a node that has been a cluster of its own, it lets others join and changes nothing else.",
			Flags:       []cli.Flag{&cli.StringFlag{Name: "name", Usage: "of the cluster (default: the configured one, or main)"}}, Action: u.clusterInit,
		},
		{
			Name: "join", Usage: "make this node a member of a cluster", ArgsUsage: "TOKEN",
			Description: "Example:\n  instar cluster join instarjoin_aeaq…\n\nThe token is what instar cluster token create has printed on a member; - reads it from standard input.",
			Flags:       []cli.Flag{&cli.DurationFlag{Name: "timeout", Value: 2 * time.Minute, Usage: "for how long to wait until the node has caught up"}}, Action: u.clusterJoin,
		},
		u.clusterTokenCommand(),
		{
			Name: "status", Usage: "who leads, who lags, what is at risk", Description: "Example:\n  instar cluster status", Action: u.clusterStatus,
		},
		{
			Name: "leave", Usage: "make this node leave its cluster for good",
			Description: "Example:\n  instar cluster leave -drain\n\nLeadership is handed over and the certificate revoked; then instard ends. What runs on the node goes on unless\n" +
				"it is drained first: instard teardown ends it.",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "drain", Usage: "move the node's instances elsewhere first"}, reason},
			Action: u.clusterLeave,
		},
		{
			Name: "remove", Usage: "put a lost node out of the cluster", ArgsUsage: "NODE",
			Description: "Example:\n  instar cluster remove n3\n\nIts certificate is revoked and its instances are replaced elsewhere. To come back it joins again, with an empty\n" +
				"data directory. For a quorum that is lost for good: instard cluster recover.",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "also a node that is there and answers"}, reason},
			Action: u.clusterRemove,
		},
	}}
}

func (u *ui) clusterTokenCommand() *cli.Command {
	return &cli.Command{Name: "token", Usage: "join tokens: create, list, revoke", Subcommands: []*cli.Command{
		{
			Name: "create", Usage: "a token by which machines join", Description: "Example:\n  instar cluster token create -role worker -uses 20 -expires 24h",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "role", Value: string(core.RoleVoter), Usage: "voter, or worker: has the whole state, does not vote"},
				&cli.DurationFlag{Name: "expires", Usage: "after this long (default: 1h)"},
				&cli.IntFlag{Name: "uses", Usage: "how many machines may join with it (default: 10)"},
				&cli.StringFlag{Name: "node", Usage: "the only `NAME` that may join with it, once"},
				&cli.BoolFlag{Name: "q", Usage: "print the token alone"},
			},
			Action: u.tokenCreate,
		},
		{Name: "list", Aliases: []string{"ls"}, Usage: "tokens that can still be used", Description: "Example:\n  instar cluster token list", Action: u.tokenList},
		{Name: "revoke", Usage: "make a token useless", ArgsUsage: "ID", Description: "Example:\n  instar cluster token revoke 5f0c1a2b3c4d5e6f", Action: u.tokenRevoke},
	}}
}

func (u *ui) clusterInit(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	joined, err := api.ClusterInit(c.Context, client.Write{}, c.String("name"))
	if err != nil {
		return err
	}
	return u.show(c, joined, func() error {
		say(u.out, "%s cluster %q has begun; %s is its first voter, at %s\n", u.style.Good("✔"), joined.Cluster, joined.Node, joined.Address)
		say(u.out, "  next: instar cluster token create, then on the other machines: instar cluster join TOKEN\n")
		if joined.CA != "" {
			say(u.out, "  people log in with: instar login ADDRESS -ca-digest %s\n", joined.CA)
		}
		return nil
	})
}

func (u *ui) clusterJoin(c *cli.Context) error {
	text, err := one(c, "token")
	if err != nil {
		return err
	}
	if text == "-" {
		if text, err = readLine(u); err != nil {
			return err
		}
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	joined, err := api.ClusterJoin(c.Context, client.Write{}, text)
	if err != nil {
		return err
	}
	seq, err := u.caughtUp(c, api, c.Duration("timeout"))
	if err != nil {
		return err
	}
	return u.show(c, joined, func() error {
		say(u.out, "%s %s is a %s of the cluster %q, at %s, and has all %d records\n", u.style.Good("✔"), joined.Node, joined.Role, joined.Cluster, joined.Address, seq)
		if joined.Role == core.RoleVoter {
			say(u.out, "  it votes as soon as it has kept up for a moment: instar cluster status\n")
		}
		return nil
	})
}

func readLine(u *ui) (string, error) {
	var text string
	if _, err := fmt.Fscan(u.in, &text); err != nil {
		return "", usage("no token on standard input: %v", err)
	}
	return text, nil
}

// caughtUp waits until a node that has joined is ready.
func (u *ui) caughtUp(c *cli.Context, api *client.Client, patience time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(c.Context, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	waiting := ""
	for {
		health, err := api.Health(ctx)
		if err == nil && health.Ready {
			return health.Seq, nil
		}
		if err == nil && health.Waiting != "" && health.Waiting != waiting && u.terminal {
			waiting = health.Waiting
			say(u.err, "waiting for %s\n", waiting)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if c.Err() != nil {
				return 0, c.Err()
			}
			return 0, (&exitError{code: exitTimeout, message: fmt.Sprintf("the node has joined, and is not ready after %s: it waits for %s", patience, health.Waiting)}).
				withHint("it goes on by itself: see instar cluster status, and the log of instard")
		}
	}
}

func (u *ui) tokenCreate(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	made, err := api.CreateJoinToken(c.Context, client.Write{}, core.JoinTokenRequest{
		Role: core.Role(c.String("role")), Expires: core.Duration(c.Duration("expires")), Uses: c.Int("uses"), Node: c.String("node"),
	})
	if err != nil {
		return err
	}
	return u.show(c, made, func() error {
		if c.Bool("q") || !u.terminal {
			say(u.out, "%s\n", made.Text)
			return nil
		}
		t := &made.Token
		say(u.err, "This token makes %s, %s, until %s. It is not shown again.\n", roles(t.Role, t.Uses), anyName(t.Node), t.Expires.Local().Format("15:04 on 2 January"))
		say(u.out, "%s\n", made.Text)
		say(u.err, "On each machine: instar cluster join TOKEN\n")
		return nil
	})
}

func roles(role core.Role, uses int) string {
	if uses == 1 {
		return "one machine a " + string(role)
	}
	return fmt.Sprintf("%d machines %ss", uses, role)
}

func anyName(node string) string {
	if node == "" {
		return "whatever their names"
	}
	return "named " + node
}

func (u *ui) tokenList(c *cli.Context) error {
	api, err := connect(c)
	if err != nil {
		return err
	}
	tokens, err := api.JoinTokens(c.Context)
	if err != nil {
		return err
	}
	return u.show(c, tokens, func() error {
		if len(tokens) == 0 {
			say(u.out, "no join tokens\n")
			return nil
		}
		t := table.New("ID", "ROLE", "NODE", "USES LEFT", "EXPIRES IN", "MADE BY", "JOINED")
		for _, v := range tokens {
			t.Row(v.ID, string(v.Role), v.Node, fmt.Sprint(v.Uses), span(time.Until(v.Expires)), v.CreatedBy, strings.Join(v.Joined, " "))
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) tokenRevoke(c *cli.Context) error {
	id, err := one(c, "token, by its id")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	a, err := api.RevokeJoinToken(c.Context, client.Write{}, id)
	if err != nil {
		return err
	}
	return u.show(c, a, func() error { say(u.out, "revoked\n"); return nil })
}

func (u *ui) clusterLeave(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	a, err := api.ClusterLeave(c.Context, client.Write{Reason: c.String("reason")}, c.Bool("drain"))
	if err != nil {
		return err
	}
	return u.show(c, a, func() error {
		say(u.out, "%s the node has left its cluster; instard ends\n", u.style.Good("✔"))
		return nil
	})
}

func (u *ui) clusterRemove(c *cli.Context) error {
	node, err := one(c, "node")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	a, err := api.RemoveMember(c.Context, client.Write{Reason: c.String("reason")}, node, c.Bool("force"))
	if err != nil {
		return err
	}
	return u.show(c, a, func() error {
		say(u.out, "%s %s is being removed: its certificate is of no use any more\n", u.style.Good("✔"), node)
		return nil
	})
}

func (u *ui) clusterStatus(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	s, err := api.ClusterStatus(c.Context)
	if err != nil {
		return err
	}
	return u.show(c, s, func() error { return u.printCluster(&s) })
}

func (u *ui) printCluster(s *core.ClusterStatus) error {
	leader := s.Leader
	if leader == "" {
		leader = u.style.Bad("none: writes have to wait")
	}
	say(u.out, "%s %s   leader %s   term %d   record %d   level %d\n", u.style.Bold("cluster"), s.Origin, leader, s.Term, s.Seq, s.Level)
	say(u.out, "%s, %d must agree, %s\n\n", count(s.Voters, "voter"), s.Quorum, u.tolerates(s))
	t := table.New("NODE", "ROLE", "STATE", "LAG", "INSTANCES", "VERSION", "ADDRESS", "CERTIFICATE")
	for i := range s.Members {
		m := &s.Members[i]
		version := "–"
		if m.Replica != nil {
			version = m.Replica.Version
		}
		expires := "–"
		if !m.Expires.IsZero() {
			expires = span(time.Until(m.Expires))
		}
		t.Row(m.Member.Name, u.role(m), u.memberState(m), u.lag(m), fmt.Sprint(m.Instances), version, m.Member.Address, expires)
	}
	if err := t.Write(u.out, u.style); err != nil {
		return err
	}
	for i, r := range s.Risks {
		if i == 0 {
			say(u.out, "\n")
		}
		u.printRisk(&r)
	}
	return nil
}

func (u *ui) printRisk(r *core.Risk) {
	mark := u.style.Faint("·")
	switch r.Severity {
	case core.SeverityCritical:
		mark = u.style.Bad("!")
	case core.SeverityWarning:
		mark = u.style.Warn("!")
	}
	say(u.out, "%s %s", mark, table.Clean(r.Message))
	if r.Hint != "" {
		say(u.out, " %s", u.style.Faint("("+table.Clean(r.Hint)+")"))
	}
	say(u.out, "\n")
}

func (u *ui) tolerates(s *core.ClusterStatus) string {
	switch {
	case s.Leader == "":
		return u.style.Bad("no agreement now")
	case s.Tolerates == 0:
		return u.style.Warn("none may fail")
	}
	return u.style.Good(fmt.Sprintf("%d may fail", s.Tolerates))
}

// role is what a member is meant to be, and whether it is.
func (u *ui) role(m *core.MemberView) string {
	role := string(m.Member.Role)
	switch {
	case m.Leader:
		return u.style.Good("leader")
	case m.Member.Role == core.RoleVoter && !m.Voter:
		return u.style.Warn(role + " to be")
	}
	return role
}

func (u *ui) memberState(m *core.MemberView) string {
	state := string(core.NodeReady)
	if m.Status != nil {
		state = string(m.Status.State)
	}
	switch {
	case m.Member.State == core.MemberLeaving:
		return u.style.Warn("leaving")
	case !m.Reachable && state == string(core.NodeReady):
		return u.style.Bad("no answer")
	case state != string(core.NodeReady):
		return u.style.Bad(state)
	case m.Member.Drain != nil:
		return u.style.Warn("drained")
	}
	return u.style.Good(state)
}

func (u *ui) lag(m *core.MemberView) string {
	switch {
	case m.Replica == nil:
		return "?"
	case m.Lag == 0:
		return "–"
	}
	return u.style.Warn(fmt.Sprint(m.Lag))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
