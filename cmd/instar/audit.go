package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/audit"
)

func (u *ui) auditCommand() *cli.Command {
	key := &cli.StringSliceFlag{Name: "key", Usage: "a node's public key that must have signed (may be repeated; a file with it works too)"}
	return &cli.Command{Name: "audit", Usage: "the audit log: list, show, verify, export, prove", Subcommands: []*cli.Command{
		{
			Name: "list", Aliases: []string{"ls"}, Usage: "records, newest first", Description: "Example:\n  instar audit list -object service/shop -since 24h",
			Flags: []cli.Flag{
				&cli.IntFlag{Name: "n", Usage: "how many", Value: 50},
				&cli.StringFlag{Name: "principal", Usage: "only by this principal"},
				&cli.StringFlag{Name: "verb", Usage: "only this verb, or group of verbs: service"},
				&cli.StringFlag{Name: "object", Usage: "only records that write KIND/ID, or KIND"},
				&cli.StringFlag{Name: "since", Usage: "a time, or how long ago"}, &cli.StringFlag{Name: "until", Usage: "a time, or how long ago"},
			}, Action: u.auditList,
		},
		{Name: "show", Usage: "one record with everything that it wrote", ArgsUsage: "SEQ", Description: "Example:\n  instar audit show 17", Action: u.auditShow},
		{
			Name: "verify", Usage: "check the whole log: every hash, the root, signatures, order, continuity", ArgsUsage: "[FILE]",
			Description: "With a FILE that audit export wrote it needs no daemon.\n\nExample:\n  instar audit verify log.instar -key node.pub",
			Flags:       []cli.Flag{key}, Action: u.auditVerify,
		},
		{
			Name: "export", Usage: "write the whole log to a file that verifies offline", ArgsUsage: "FILE",
			Description: "Example:\n  instar audit export log.instar", Action: u.auditExport,
		},
		{
			Name: "prove", Usage: "prove that a record is in the log, or check such a proof", ArgsUsage: "SEQ | PROOF-FILE",
			Description: "With a number it writes a proof as JSON, from the daemon or (-file) from an export.\n" +
				"With a file it checks a proof, offline.\n\nExample:\n  instar audit prove 17 > proof.json\n  instar audit prove proof.json",
			Flags: []cli.Flag{key, &cli.StringFlag{Name: "file", Usage: "make the proof from an export instead of the daemon"}}, Action: u.auditProve,
		},
	}}
}

// when reads a time or how long ago it was.
func when(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("%q is no time", text).withHint("write 24h, 2026-03-01, or 2026-03-01T15:04:05Z")
}

func (u *ui) auditList(c *cli.Context) error {
	if err := none(c); err != nil {
		return err
	}
	since, err := when(c.String("since"))
	if err != nil {
		return err
	}
	until, err := when(c.String("until"))
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	filter := client.Records{
		Principal: c.String("principal"), Verb: c.String("verb"), Object: c.String("object"), Since: since, Until: until,
	}
	records, err := u.records(c, api, filter, c.Int("n"))
	if err != nil {
		return err
	}
	return u.show(c, records, func() error {
		t := table.New("SEQ", "TIME", "PRINCIPAL", "VERB", "WRITES", "REASON")
		for i := range records {
			m := &records[i].Txn.Meta
			t.Row(strconv.FormatUint(records[i].Seq, 10), m.Time.Local().Format("2006-01-02 15:04:05.000"), table.Clean(m.Principal), m.Verb,
				writes(&records[i]), value(m.Reason))
		}
		return t.Write(u.out, u.style)
	})
}

// records reads pages until there are n records, or no more.
func (u *ui) records(c *cli.Context, api *client.Client, filter client.Records, n int) ([]core.Record, error) {
	out := []core.Record{}
	for len(out) < n {
		filter.Limit = min(n-len(out), 1000)
		p, err := api.Records(c.Context, filter)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if p.Next == "" {
			break
		}
		if filter.Before, err = strconv.ParseUint(p.Next, 10, 64); err != nil {
			return nil, core.Errorf(core.CodeInternal, "the daemon's cursor %q is no number", p.Next)
		}
	}
	return out, nil
}

func writes(r *core.Record) string {
	names := make([]string, 0, len(r.Txn.Ops))
	for i := range r.Txn.Ops {
		o := &r.Txn.Ops[i]
		name := string(o.Kind) + "/" + table.Clean(o.ID)
		if o.Delete {
			name = "-" + name
		}
		names = append(names, name)
	}
	return value(some(names))
}

func (u *ui) auditShow(c *cli.Context) error {
	text, err := one(c, "record")
	if err != nil {
		return err
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || seq == 0 {
		return usage("%q is no sequence number", text)
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	r, err := api.Record(c.Context, seq)
	if err != nil {
		return err
	}
	return u.show(c, r, func() error {
		m := &r.Txn.Meta
		say(u.out, "%s   %s\n  %s by %s   %s\n  leaf %s\n", u.style.Bold(fmt.Sprintf("record %d", r.Seq)), m.Time.Local().Format(time.RFC3339Nano),
			m.Verb, table.Clean(m.Principal), table.Clean(m.Reason), r.LeafHash)
		for i := range r.Txn.Ops {
			o := &r.Txn.Ops[i]
			if o.Delete {
				say(u.out, "\n%s %s/%s\n", u.style.Bad("deletes"), o.Kind, table.Clean(o.ID))
				continue
			}
			var v any
			if err := json.Unmarshal(o.Value, &v); err != nil {
				return fmt.Errorf("%s %s: %w", o.Kind, o.ID, err)
			}
			data, err := toYAML(o.Value)
			if err != nil {
				return err
			}
			say(u.out, "\n%s %s/%s\n%s", u.style.Good("writes"), o.Kind, table.Clean(o.ID), data)
		}
		return nil
	})
}

// trust reads the keys that must have signed: verifier texts, or files that hold them.
func trust(c *cli.Context) (audit.Trust, error) {
	var texts []string
	for _, k := range c.StringSlice("key") {
		if data, err := os.ReadFile(k); err == nil {
			k = string(data)
		}
		texts = append(texts, k)
	}
	keys, err := audit.Verifiers(texts...)
	return audit.Trust{Keys: keys}, err
}

func (u *ui) auditVerify(c *cli.Context) error {
	known, err := trust(c)
	if err != nil {
		return err
	}
	source, name, err := u.exportSource(c)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it has been read to its end, or the error says why not
	started := time.Now()
	report, verifyErr := audit.VerifyExport(source, known)
	if err := u.show(c, report, func() error { return u.printReport(name, &report, time.Since(started)) }); err != nil {
		return err
	}
	if verifyErr != nil && machine(c) && report.Failure != nil {
		return &exitError{code: exitFailed}
	}
	return verifyErr
}

// exportSource opens the named export, or streams one from the daemon.
func (u *ui) exportSource(c *cli.Context) (io.ReadCloser, string, error) {
	if c.NArg() > 1 {
		return nil, "", usage("one file at a time")
	}
	if path := c.Args().First(); path != "" {
		f, err := os.Open(path)
		return f, path, err
	}
	api, err := connect(c)
	if err != nil {
		return nil, "", err
	}
	body, err := api.Export(c.Context)
	return body, "the log of " + api.Address(), err
}

func (u *ui) printReport(name string, r *audit.Report, took time.Duration) error {
	if r.Failure != nil {
		say(u.out, "%s %s\n", u.style.Bad("NOT VERIFIED"), name)
		return nil
	}
	signed := "signatures not checked (-key names the keys to trust)"
	if r.Signed {
		signed = "signed by the given keys"
	}
	say(u.out, "%s %s\n  origin   %s\n  records  %d, without gaps, from %s to %s\n  root     %s\n  objects  %d, every write continues the one before\n  %s\n  %s in %d ms\n",
		u.style.Good("VERIFIED"), name, table.Clean(r.Origin), r.Records, r.First.Local().Format(time.DateTime), r.Last.Local().Format(time.DateTime),
		r.Root, r.Objects, signed, size(r.Bytes), took.Milliseconds())
	return nil
}

func (u *ui) auditExport(c *cli.Context) error {
	path, err := one(c, "file")
	if err != nil {
		return err
	}
	api, err := connect(c)
	if err != nil {
		return err
	}
	body, err := api.Export(c.Context)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // copy reports a body that broke off
	if path == "-" {
		_, err := io.Copy(u.out, body)
		return err
	}
	n, err := writeWhole(path, body)
	if err != nil {
		return err
	}
	say(u.err, "%s written, %s; check it with: instar audit verify %s\n", path, size(n), path)
	return nil
}

// writeWhole leaves either the whole file under its name or nothing.
func writeWhole(path string, body io.Reader) (n int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".instar-export-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // closed already, or the first error counts
			_ = os.Remove(f.Name()) // likewise
		}
	}()
	if n, err = io.Copy(f, body); err != nil {
		return n, fmt.Errorf("export broke off after %d bytes: %w", n, err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil { //nolint:gocritic // the deferred clean-up looks at err
		return n, err
	}
	err = os.Rename(f.Name(), path)
	return n, err
}
