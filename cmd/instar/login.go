package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) loginCommand() *cli.Command {
	return &cli.Command{
		Name: "login", Usage: "remember a cluster, and speak to it from now on", ArgsUsage: "ADDRESS",
		Description: "Example:\n  instar login https://n1.example.org:4747 -token-file ci.token -ca-digest sha256:1f3a…\n\n" +
			"instar cluster init prints the digest of the CA. Without it, the digest that the server shows is to be\n" +
			"confirmed at a terminal. The token is read from the file, from standard input with -token-file -, from\n" +
			"INSTAR_TOKEN, or asked for.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "token-file", Usage: "the API token is in this `FILE`; - is standard input"},
			&cli.StringFlag{Name: "ca-digest", Usage: "the cluster's CA has this `DIGEST`, sha256:…"},
			&cli.StringFlag{Name: "cert", Usage: "a client certificate in this `FILE` in place of a token, with -key"},
			&cli.StringFlag{Name: "key", Usage: "the `FILE` with its key"},
			&cli.StringFlag{Name: "name", Usage: "of the context (default: the cluster's)"},
		},
		Action: u.login,
	}
}

func (u *ui) login(c *cli.Context) error {
	address, err := one(c, "address")
	if err != nil {
		return err
	}
	if !strings.Contains(address, "://") && !strings.HasPrefix(address, "/") {
		address = "https://" + address
	}
	s := saved{Address: address}
	if strings.HasPrefix(address, "https://") {
		if s.CA, err = u.pin(c, address); err != nil {
			return err
		}
	}
	if err := u.credentials(c, &s); err != nil {
		return err
	}
	api, err := client.Open(s.options())
	if err != nil {
		return err
	}
	defer api.Close()
	who, err := api.Whoami(c.Context)
	if err != nil {
		return err
	}
	if s.CA != "" && len(who.CA) > 0 {
		s.CA = strings.Join(who.CA, "") // all that are valid: a rotation may be under way
	}
	name := c.String("name")
	if name == "" {
		name, _, _ = strings.Cut(who.Origin, "/")
	}
	store, err := contexts()
	if err != nil {
		return err
	}
	if err := store.save(name, s); err != nil {
		return err
	}
	if err := store.use(name); err != nil {
		return err
	}
	say(u.out, "logged in to %s as %s (%s); the context is called %s\n", address, who.Principal, who.Role, name)
	return nil
}

// pin gets the CA that the server is to be known by from now on.
func (u *ui) pin(c *cli.Context, address string) (string, error) {
	authority, err := client.Inspect(c.Context, address)
	if err != nil {
		return "", err
	}
	want := c.String("ca-digest")
	switch {
	case want == authority.Digest:
		return authority.PEM, nil
	case want != "":
		return "", (&exitError{code: exitDenied, message: fmt.Sprintf("%s has a CA with the digest %s, not %s", address, authority.Digest, want)}).
			withHint("the address is of another cluster, or somebody is in between")
	case !u.prompts:
		return "", usage("nobody is there to confirm the CA of %s: %s", address, authority.Digest).
			withHint("compare it with what instar cluster init has printed, and give it: -ca-digest %s", authority.Digest)
	}
	say(u.out, "The CA of %s has the digest\n  %s\n", address, authority.Digest)
	yes, err := u.ask("Is it what instar cluster init has printed, and instar whoami prints on a node? [y/N] ")
	if err != nil {
		return "", err
	}
	if !yes {
		return "", &exitError{code: exitFailed, message: "not logged in"}
	}
	return authority.PEM, nil
}

func (u *ui) ask(question string) (bool, error) {
	say(u.out, "%s", question)
	line, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// credentials reads what the server is shown. Over a socket nothing is needed: the kernel says who calls.
func (u *ui) credentials(c *cli.Context, s *saved) error {
	if c.String("cert") != "" || c.String("key") != "" {
		for flag, into := range map[string]*string{"cert": &s.Certificate, "key": &s.Key} {
			if c.String(flag) == "" {
				return usage("-cert and -key go together")
			}
			data, err := os.ReadFile(c.String(flag))
			if err != nil {
				return fmt.Errorf("-%s: %w", flag, err)
			}
			*into = string(data)
		}
		return nil
	}
	token, err := u.readToken(c, strings.HasPrefix(s.Address, "https://"))
	if err != nil {
		return err
	}
	s.Token = strings.TrimSpace(token)
	return nil
}

func (u *ui) readToken(c *cli.Context, needed bool) (string, error) {
	switch file := c.String("token-file"); {
	case file == "-":
		data, err := io.ReadAll(io.LimitReader(u.in, 4096))
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		return string(data), nil
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("-token-file: %w", err)
		}
		return string(data), nil
	}
	if token := os.Getenv(envToken); token != "" || !needed {
		return token, nil
	}
	f, ok := u.in.(*os.File)
	if !ok || !u.prompts {
		return "", usage("no token was given").withHint("-token-file FILE, -token-file - for standard input, or %s", envToken)
	}
	say(u.out, "Token: ")
	data, err := term.ReadPassword(int(f.Fd()))
	say(u.out, "\n")
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return string(data), nil
}

func (u *ui) whoamiCommand() *cli.Command {
	return &cli.Command{
		Name: "whoami", Usage: "who the cluster takes you for, and what you may do", Description: "Example:\n  instar whoami",
		Action: func(c *cli.Context) error {
			if err := none(c); err != nil {
				return err
			}
			api, err := connect(c)
			if err != nil {
				return err
			}
			who, err := api.Whoami(c.Context)
			if err != nil {
				return err
			}
			return u.show(c, who, func() error {
				say(u.out, "principal  %s\nrole       %s\n", who.Principal, who.Role)
				if len(who.Services) > 0 {
					say(u.out, "services   %s\n", strings.Join(who.Services, ", "))
				}
				say(u.out, "node       %s\ncluster    %s\naddress    %s\n", who.Node, who.Origin, api.Address())
				if len(who.CA) > 0 {
					digest, err := client.DigestOf(who.CA[0])
					if err != nil {
						return err
					}
					say(u.out, "ca         %s\n", digest)
				}
				return nil
			})
		},
	}
}
