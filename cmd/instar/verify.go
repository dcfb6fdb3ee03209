package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/verify"
)

func (u *ui) driverVerifyCommand() *cli.Command {
	jsonFlag := func(name, what string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: what + ", as JSON or @FILE"}
	}
	return &cli.Command{
		Name: "verify", Usage: "run the conformance suite against a driver's binary", ArgsUsage: "BINARY",
		Description: "Launches the binary as instard would, in any language it may be written; needs no daemon. Exit code 1 if a\n" +
			"check fails. Checks that need something that no flag gives are skipped, and say what they need. The names of\n" +
			"the checks stay: a baseline, or a report of last year, can be compared by them.\n\n" +
			"Example:\n  instar driver verify ./instar-compute-process -artifact ./app.tar.gz -workload '{\"command\":[\"./app\"]}' -port http\n" +
			"  instar driver verify ./instar-traffic-proxy -data-plane -junit report.xml",
		Flags: []cli.Flag{
			jsonFlag("target", "configuration of the target"),
			jsonFlag("workload", "compute: of an instance that runs until it is ended; traffic: of every route"),
			jsonFlag("exits", "compute: of an instance that ends by itself at once, with a status that is not 0"),
			jsonFlag("talks", `compute: of an instance that writes "out 1" to "out 5" to stdout, "err 1" to stderr, and runs on`),
			&cli.StringFlag{Name: "artifact", Usage: "compute: what instances run"},
			&cli.StringFlag{Name: "missing", Usage: "compute: an artifact source that does not exist"},
			&cli.StringSliceFlag{Name: "port", Usage: "compute: a port that instances listen on (may be repeated)"},
			&cli.BoolFlag{Name: "mounts", Usage: "compute: check mounts too"},
			&cli.BoolFlag{Name: "data-plane", Usage: "traffic: send requests through the routes"},
			&cli.StringFlag{Name: "query", Usage: "metrics: a query that has data"},
			&cli.StringFlag{Name: "empty-query", Usage: "metrics: a query without data"},
			&cli.StringFlag{Name: "invalid-query", Usage: "metrics: a query that the backend refuses"},
			&cli.TimestampFlag{Name: "at", Layout: time.RFC3339, Usage: "metrics: the end of the window, as in 2026-11-23T05:00:00Z (default: now)"},
			&cli.DurationFlag{Name: "window", Usage: "metrics: how long the window is", Value: time.Minute},
			&cli.StringFlag{Name: "run", Usage: "run only the checks whose name matches this `REGEXP`, as in '^create/'"},
			&cli.IntFlag{Name: "rounds", Usage: "how often a check interrupts a call, each time at another moment of it: more take longer and find more", Value: 5},
			&cli.DurationFlag{Name: "start-timeout", Usage: "how long the binary may take to begin to serve", Value: 10 * time.Second},
			&cli.StringFlag{Name: "junit", Usage: "write a JUnit report to this `FILE` as well"},
		},
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
	if err != nil {
		return err
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

func verifyOptions(c *cli.Context) (verify.Options, error) {
	o := verify.Options{
		Artifact: c.String("artifact"), Missing: c.String("missing"), Ports: c.StringSlice("port"), Mounts: c.Bool("mounts"),
		DataPlane: c.Bool("data-plane"), Query: c.String("query"), Empty: c.String("empty-query"), Invalid: c.String("invalid-query"),
	}
	o.Window, o.StartTimeout = c.Duration("window"), c.Duration("start-timeout")
	if o.Rounds = c.Int("rounds"); o.Rounds < 1 {
		return o, usage("-rounds %d: at least one", o.Rounds)
	}
	if at := c.Timestamp("at"); at != nil {
		o.At = *at
	}
	if text := c.String("run"); text != "" {
		only, err := regexp.Compile(text)
		if err != nil {
			return o, usage("-run: %v", err)
		}
		o.Only = only
	}
	if path, err := filepath.Abs(o.Artifact); err == nil && o.Artifact != "" {
		if _, err := os.Stat(path); err == nil {
			o.Artifact = path // the driver runs in another folder
		}
	}
	for name, into := range map[string]*json.RawMessage{"target": &o.Target, "workload": &o.Workload, "exits": &o.Exits, "talks": &o.Talks} {
		text := c.String(name)
		if path, ok := strings.CutPrefix(text, "@"); ok {
			data, err := os.ReadFile(path)
			if err != nil {
				return o, fmt.Errorf("-%s: %w", name, err)
			}
			text = string(data)
		}
		if text == "" {
			continue
		}
		if !json.Valid([]byte(text)) {
			return o, usage("-%s %q is no JSON", name, text).withHint("write -%s '{\"attribute\": \"value\"}', or -%s @FILE", name, name)
		}
		*into = json.RawMessage(text)
	}
	return o, nil
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
