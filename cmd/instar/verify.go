package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/verify"
)

func (u *ui) driverVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "run the conformance suite against a driver's binary", ArgsUsage: "BINARY",
		Description: "Launches the binary as instard would, in any language it may be written; needs no daemon. Exit code 1 if a\n" +
			"check fails. Checks that need something that no flag gives are skipped, and say which flag that is. The names of\n" +
			"the checks stay: a baseline, or a report of last year, can be compared by them.\n\n" +
			"Commands (CMD) are run by sh, from where instar was started, with VERIFY_CLUSTER, VERIFY_TARGET, VERIFY_NODE,\n" +
			"VERIFY_GENERATION, VERIFY_STATE_DIR and VERIFY_CONFIG (JSON) in their environment: what the driver was configured\n" +
			"with. Each is tried before the first check. The backend runs when verify begins, and when it ends.\n\n" +
			"Example:\n  instar driver verify ./instar-compute-process -artifact ./app.tar.gz -workload '{\"command\":[\"./app\"]}' -port http\n" +
			"  instar driver verify ./instar-traffic-proxy -data-plane -junit report.xml\n" +
			"  instar driver verify ./instar-compute-mine -options verify.json \\\n" +
			"    -backend-stop 'systemctl stop mine' -backend-start 'systemctl start mine' -holds 'mine list --label cluster=$VERIFY_CLUSTER'",
		Flags:  verifyFlags(),
		Action: u.driverVerify,
	}
}

func (u *ui) driverVerify(c *cli.Context) error {
	binary, err := one(c, "binary")
	if err != nil {
		return err
	}
	o, err := verifyOptions(c)
	if err != nil {
		return err
	}
	if u.terminal && !machine(c) {
		o.Progress = func(r sdktest.Result) { say(u.err, "\r\x1b[K%s", r.Name) }
		defer say(u.err, "\r\x1b[K")
	}
	report, err := verify.Run(c.Context, binary, o)
	if err != nil && (c.Err() != nil || report == nil || len(report.Results) == 0) {
		return err
	}
	if err != nil { // what was found until then counts all the same
		return errors.Join(u.show(c, report, func() error { return u.printVerification(report) }), err)
	}
	if path := c.String("junit"); path != "" {
		if err := writeJUnit(path, report); err != nil {
			return err
		}
	}
	if err := u.show(c, report, func() error { return u.printVerification(report) }); err != nil {
		return err
	}
	if !report.OK() {
		return &exitError{code: exitFailed}
	}
	return nil
}

// printVerification puts what went wrong below the check that found it.
func (u *ui) printVerification(report *verify.Report) error {
	for _, r := range report.Results {
		say(u.out, "%s %s  %s\n", u.mark(r.Status), r.Name, u.style.Faint(r.Took.Round(time.Millisecond).String()))
		if r.Status != sdktest.Passed {
			for line := range strings.SplitSeq(r.Detail, "\n") {
				say(u.out, "    | %s\n", table.Clean(line))
			}
		}
	}
	verdict := u.style.Good("VERIFIED")
	if !report.OK() {
		verdict = u.style.Bad("NOT VERIFIED")
	}
	_, err := fmt.Fprintf(u.out, "%s %s: %s\n", verdict, table.Clean(report.Subject()), report.Summary())
	return err
}

func (u *ui) mark(s sdktest.Status) string {
	switch s {
	case sdktest.Passed:
		return u.style.Good("✔")
	case sdktest.Failed:
		return u.style.Bad("✘")
	}
	return u.style.Faint("○")
}

func writeJUnit(path string, report *verify.Report) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := report.JUnit(f); err != nil {
		_ = f.Close() // the first error counts
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
