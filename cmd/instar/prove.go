package main

import (
	"encoding/json"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

func (u *ui) auditProve(c *cli.Context) error {
	what, err := one(c, "record, or proof to check")
	if err != nil {
		return err
	}
	seq, err := strconv.ParseUint(what, 10, 64)
	if err != nil {
		return u.checkProof(c, what)
	}
	proof, err := u.makeProof(c, seq)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(u.out) // a proof is for programs and files, whatever -o says
	enc.SetIndent("", "  ")
	return enc.Encode(proof)
}

func (u *ui) makeProof(c *cli.Context, seq uint64) (audit.Proof, error) {
	path := c.String("file")
	if path == "" {
		api, err := connect(c)
		if err != nil {
			return audit.Proof{}, err
		}
		return api.Prove(c.Context, seq)
	}
	known, err := trust(c)
	if err != nil {
		return audit.Proof{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return audit.Proof{}, err
	}
	defer func() { _ = f.Close() }() // only read
	return audit.ProveExport(f, seq, known)
}

func (u *ui) checkProof(c *cli.Context, path string) error {
	known, err := trust(c)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var proof audit.Proof
	if err := json.Unmarshal(data, &proof); err != nil {
		return core.Errorf(core.CodeInvalid, "%s is no proof: %w", path, err).WithHint("instar audit prove SEQ makes one")
	}
	record, checkpoint, err := proof.Verify(known)
	if err != nil {
		return err
	}
	return u.show(c, map[string]any{"record": record, "checkpoint": checkpoint}, func() error {
		signed := "signatures not checked (-key names the keys to trust)"
		if len(known.Keys) > 0 {
			signed = "signed by a given key"
		}
		say(u.out, "%s record %d is in the log %s of %d records\n  %s by %s at %s\n  %s\n", u.style.Good("VERIFIED"), record.Seq,
			table.Clean(checkpoint.Head.Origin), checkpoint.Head.Size, record.Txn.Meta.Verb, table.Clean(record.Txn.Meta.Principal), record.Txn.Meta.Time, signed)
		return nil
	})
}
