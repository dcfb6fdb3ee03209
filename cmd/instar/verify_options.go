package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/sdk/verify"
)

// optionsFlag names the file that has the others.
const optionsFlag = "options"

func verifyFlags() []cli.Flag {
	jsonFlag := func(name, what string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: what + ", as JSON or @FILE"}
	}
	command := func(name, what string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: "`CMD` " + what}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: optionsFlag, Usage: "a JSON object with any of the other flags as its members, as in {\"port\": [\"http\"]}, in this `FILE`; a flag on the command line comes first"},
		jsonFlag("target", "configuration of the target"),
		jsonFlag("workload", "compute: of an instance that runs until it is ended; traffic: of every route"),
		jsonFlag("exits", "compute: of an instance that ends by itself at once, with a status that is not 0"),
		jsonFlag("talks", `compute: of an instance that writes "out 1" to "out 5" to stdout, "err 1" to stderr, and runs on`),
		jsonFlag("fails", "compute: of an instance that the backend cannot start, as there is no such program"),
		jsonFlag("stubborn", `compute: of an instance that runs on when it is asked to stop, and writes "stubborn" to stdout as soon as that is so`),
		jsonFlag("shows", "compute: of an instance that writes its variable CONFORMANCE to stdout, then the mounted file conformance/data.txt if it is there, and runs on"),
		&cli.StringFlag{Name: "artifact", Usage: "compute: what instances run"},
		&cli.StringFlag{Name: "missing", Usage: "compute: an artifact source that does not exist"},
		&cli.StringSliceFlag{Name: "port", Usage: "compute: a port that instances listen on (may be repeated)"},
		&cli.BoolFlag{Name: "mounts", Usage: "compute: check mounts too"},
		command("holds", "compute: prints one line for each instance that the backend has of cluster $VERIFY_CLUSTER, whatever its state, read past the driver"),
		command("change", "compute: changes the running instance $VERIFY_INSTANCE by hand, so that it is not any more what it was created from"),
		&cli.BoolFlag{Name: "data-plane", Usage: "traffic: send requests through the routes"},
		&cli.StringFlag{Name: "query", Usage: "metrics: a query that has data"},
		&cli.StringFlag{Name: "empty-query", Usage: "metrics: a query without data"},
		&cli.StringFlag{Name: "invalid-query", Usage: "metrics: a query that the backend refuses"},
		&cli.StringFlag{Name: "stale-query", Usage: "metrics: a query whose newest sample is older than the window"},
		&cli.Float64Flag{Name: "want", Usage: "metrics: the value of every sample of -query"},
		&cli.TimestampFlag{Name: "at", Layout: time.RFC3339, Usage: "metrics: the end of the window, as in 2026-11-23T05:00:00Z (default: now)"},
		&cli.DurationFlag{Name: "window", Usage: "metrics: how long the window is", Value: time.Minute},
		command("backend-stop", "takes the backend away: nothing of it answers any more. What runs there may go on or end"),
		command("backend-start", "gives the stopped backend back, and ends when it answers again; it may leave a process in the background"),
		command("backend-slow", "makes every answer of the backend $VERIFY_DELAY_MS milliseconds late; 0: as before. A backend that is paused (kill -STOP, kill -CONT) will do"),
		&cli.DurationFlag{Name: "command-timeout", Usage: "how long a command of these flags may take", Value: time.Minute},
		&cli.StringFlag{Name: "run", Usage: "run only the checks whose name matches this `REGEXP`, as in '^create/'"},
		&cli.IntFlag{Name: "rounds", Usage: "how often a check interrupts a call, each time at another moment of it: more take longer and find more", Value: 5},
		&cli.DurationFlag{Name: "patience", Usage: "how long the backend may take for its work, such as to start an instance", Value: 30 * time.Second},
		&cli.DurationFlag{Name: "soon", Usage: "how long the driver may take for what needs no work, such as to heed a cancellation", Value: 2 * time.Second},
		&cli.DurationFlag{Name: "start-timeout", Usage: "how long the binary may take to begin to serve", Value: 10 * time.Second},
		&cli.StringFlag{Name: "junit", Usage: "write a JUnit report to this `FILE` as well"},
	}
}

// verifyOptions are what the flags, and the file that they name, say.
func verifyOptions(c *cli.Context) (verify.Options, error) {
	if path := c.String(optionsFlag); path != "" {
		if err := readVerifyOptions(c, path); err != nil {
			return verify.Options{}, err
		}
	}
	o := verify.Options{
		Artifact: c.String("artifact"), Missing: c.String("missing"), Ports: c.StringSlice("port"), Mounts: c.Bool("mounts"),
		DataPlane: c.Bool("data-plane"), Query: c.String("query"), Empty: c.String("empty-query"), Invalid: c.String("invalid-query"),
		Stale: c.String("stale-query"), Window: c.Duration("window"), Rounds: c.Int("rounds"),
		Patience: c.Duration("patience"), Soon: c.Duration("soon"), StartTimeout: c.Duration("start-timeout"),
		Backend: verify.Commands{
			Stop: c.String("backend-stop"), Start: c.String("backend-start"), Slow: c.String("backend-slow"),
			Holds: c.String("holds"), Change: c.String("change"), Limit: c.Duration("command-timeout"),
		}.Backend(),
	}
	if err := checkVerifyNumbers(c, o); err != nil {
		return o, err
	}
	if at := c.Timestamp("at"); at != nil {
		o.At = *at
	}
	if c.IsSet("want") {
		want := c.Float64("want")
		o.Want = &want
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
	for name, into := range map[string]*json.RawMessage{
		"target": &o.Target, "workload": &o.Workload, "exits": &o.Exits, "talks": &o.Talks, "fails": &o.Fails,
		"stubborn": &o.Stubborn, "shows": &o.Shows,
	} {
		var err error
		if *into, err = configuration(name, c.String(name)); err != nil {
			return o, err
		}
	}
	return o, nil
}

// checkVerifyNumbers refuses what cannot be, or does not go together.
func checkVerifyNumbers(c *cli.Context, o verify.Options) error {
	if o.Rounds < 1 {
		return usage("-rounds %d: at least one", o.Rounds)
	}
	for _, name := range []string{"command-timeout", "patience", "soon", "start-timeout", "window"} {
		if d := c.Duration(name); d <= 0 {
			return usage("-%s %s: more than nothing", name, d)
		}
	}
	for _, pair := range [][2]string{{"backend-stop", "backend-start"}, {"backend-start", "backend-stop"}} {
		if c.String(pair[0]) != "" && c.String(pair[1]) == "" {
			return usage("-%s needs -%s as well: what is stopped has to be started again", pair[0], pair[1])
		}
	}
	return nil
}

// configuration is a flag's JSON object, or that of the file it names.
func configuration(name, text string) (json.RawMessage, error) {
	if path, ok := strings.CutPrefix(text, "@"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("-%s: %w", name, err)
		}
		text = string(data)
	}
	if text == "" {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil || members == nil {
		what := "is no JSON object"
		if !json.Valid([]byte(text)) {
			what = "is no JSON"
		}
		return nil, usage("-%s %.200q %s", name, text, what).withHint("write -%s '{\"attribute\": \"value\"}', or -%s @FILE", name, name)
	}
	return json.RawMessage(text), nil
}

// readVerifyOptions sets the flags that a file has and the command line has not.
func readVerifyOptions(c *cli.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("-%s: %w", optionsFlag, err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return usage("-%s %s: %v", optionsFlag, path, err).withHint("it is a JSON object with flags as its members: {\"artifact\": \"./app\", \"port\": [\"http\"]}")
	}
	known := map[string]bool{}
	for _, f := range c.Command.Flags {
		known[f.Names()[0]] = f.Names()[0] != optionsFlag && f.Names()[0] != "help"
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !known[name] {
			return usage("-%s %s: there is no flag -%s", optionsFlag, path, name).withHint("instar driver verify -h has them all")
		}
		if c.IsSet(name) {
			continue
		}
		for _, value := range flagValues(members[name]) {
			if err := c.Set(name, value); err != nil {
				return usage("-%s %s: %s: %v", optionsFlag, path, name, err)
			}
		}
	}
	return nil
}

// flagValues are a member's value as it would stand on the command line: once for each element of a list.
func flagValues(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []string{text}
	}
	return []string{string(bytes.TrimSpace(raw))}
}
