package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) tokenCommand() *cli.Command {
	reason := &cli.StringFlag{Name: "reason", Usage: "why; kept in the audit log"}
	return &cli.Command{Name: "token", Usage: "who else may call the API: create, list, revoke", Subcommands: []*cli.Command{
		{
			Name: "create", Usage: "a token, or a client certificate, for a person or a pipeline", ArgsUsage: "NAME",
			Description: "Example:\n  instar token create ci -role deployer -service shop -service 'web-*' -expires 2160h\n\n" +
				"The token is shown once. The audit log calls its holder token:NAME, or cert:NAME.\n" +
				"Roles: admin, operator, deployer (of the services that are named), auditor, viewer; docs/security.md.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "role", Usage: "admin, operator, deployer, auditor or viewer"},
				&cli.StringSliceFlag{Name: "service", Usage: "a deployer's `SERVICE`, or the beginning of names with a *; may be repeated"},
				&cli.DurationFlag{Name: "expires", Usage: "after this long (default: never; a certificate: 720h)"},
				&cli.BoolFlag{Name: "certificate", Usage: "a client certificate in place of a token: NAME.crt and NAME.key"},
				&cli.StringFlag{Name: "out", Value: ".", Usage: "write those to this `DIR`"},
				&cli.BoolFlag{Name: "q", Usage: "print the token alone"},
				reason,
			},
			Action: u.apiTokenCreate,
		},
		{Name: "list", Aliases: []string{"ls"}, Usage: "every token and client certificate", Description: "Example:\n  instar token list", Action: u.apiTokenList},
		{
			Name: "revoke", Usage: "make a token, or a client certificate, worthless at once", ArgsUsage: "NAME|ID",
			Description: "Example:\n  instar token revoke ci", Flags: []cli.Flag{reason}, Action: u.apiTokenRevoke,
		},
	}}
}

func (u *ui) apiTokenCreate(c *cli.Context) error {
	name, err := one(c, "name")
	if err != nil {
		return err
	}
	if c.String("role") == "" {
		return usage("say what the token allows: -role").withHint("admin, operator, deployer, auditor or viewer; the least that will do")
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	want := client.NewToken{
		Name: name, Role: core.AccessRole(c.String("role")), Services: c.StringSlice("service"), Expires: core.Duration(c.Duration("expires")),
	}
	files := certificateFiles{dir: c.String("out"), name: name}
	if c.Bool("certificate") {
		if want.CSR, err = files.request(); err != nil {
			return err
		}
	}
	made, err := api.CreateToken(c.Context, client.Write{Reason: c.String("reason")}, want)
	if err != nil {
		if want.CSR != "" {
			err = errors.Join(err, files.abandon())
		}
		return err
	}
	if want.CSR != "" {
		if err := files.complete(made.Certificate); err != nil {
			return err
		}
	}
	return u.show(c, made, func() error {
		switch {
		case want.CSR != "":
			say(u.out, "%s and %s are a client certificate for %s (%s), valid until %s\n", files.path("crt"), files.path("key"),
				made.Token.Principal, made.Token.Role, made.Token.Expires.Format(time.RFC3339))
			say(u.err, "use it: instar login ADDRESS -cert %s -key %s\n", files.path("crt"), files.path("key"))
		case c.Bool("q"):
			say(u.out, "%s\n", made.Text)
		default:
			say(u.out, "%s\n", made.Text)
			say(u.err, "this is %s (%s), and is not shown again; use it: instar login ADDRESS, or INSTAR_TOKEN\n", made.Token.Principal, made.Token.Role)
		}
		return nil
	})
}

// certificateFiles are where a client certificate and its key are put. The key never leaves this machine.
type certificateFiles struct{ dir, name string }

func (f certificateFiles) path(kind string) string { return filepath.Join(f.dir, f.name+"."+kind) }

// request makes the key, and a certificate request for it. It overwrites nothing.
func (f certificateFiles) request() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode the key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return "", fmt.Errorf("make a certificate request: %w", err)
	}
	file, err := os.OpenFile(f.path("key"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return "", usage("%s exists", f.path("key")).withHint("remove it if nobody needs it, or choose another place with -out")
	}
	if err != nil {
		return "", fmt.Errorf("the key: %w", err)
	}
	if err := errors.Join(pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), file.Sync(), file.Close()); err != nil {
		return "", fmt.Errorf("the key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), nil
}

func (f certificateFiles) complete(certificate string) error {
	if err := os.WriteFile(f.path("crt"), []byte(certificate), 0o600); err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	return nil
}

// abandon removes the key of a certificate that was not issued.
func (f certificateFiles) abandon() error {
	if err := os.Remove(f.path("key")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the key: %w", err)
	}
	return nil
}

func (u *ui) apiTokenList(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[client.Token], error) { return api.Tokens(c.Context, l) })
	if err != nil {
		return err
	}
	return u.show(c, items, func() error {
		t := table.New("PRINCIPAL", "ROLE", "SERVICES", "CREATED", "BY", "EXPIRES", "ID")
		for i := range items {
			k := &items[i]
			expires := "never"
			if !k.Expires.IsZero() {
				expires = k.Expires.Format(time.RFC3339)
				if k.Expires.Before(time.Now()) {
					expires = u.style.Bad("expired")
				}
			}
			t.Row(k.Principal, string(k.Role), strings.Join(k.Services, ","), ago(k.Created), k.CreatedBy, expires, u.style.Faint(k.ID))
		}
		return t.Write(u.out, u.style)
	})
}

func (u *ui) apiTokenRevoke(c *cli.Context) error {
	name, err := one(c, "token")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	items, err := pages(func(l client.List) (core.Page[client.Token], error) { return api.Tokens(c.Context, l) })
	if err != nil {
		return err
	}
	var found []client.Token
	for _, k := range items {
		if k.ID == name || k.Principal == name || k.Principal == "token:"+name || k.Principal == "cert:"+name {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 1:
	case 0:
		return &exitError{code: exitFailed, message: fmt.Sprintf("there is no token %q", name), hint: "instar token list shows them"}
	default:
		return usage("%q names %s and %s", name, found[0].Principal, found[1].Principal).withHint("give the id, or the whole principal")
	}
	if _, err := api.RevokeToken(c.Context, client.Write{Reason: c.String("reason")}, found[0].ID); err != nil {
		return err
	}
	say(u.out, "%s is revoked\n", found[0].Principal)
	return nil
}
