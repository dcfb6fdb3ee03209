package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

const (
	lastLinesMax     = 10
	lastLineBytes    = 512
	lastLinesTimeout = 2 * time.Second
)

// failureOf says in the store's terms why a driver could not make an instance.
func failureOf(err error) core.Failure {
	f := core.Failure{Message: err.Error()}
	switch sdk.CodeOf(err) {
	case sdk.CodeInvalidConfig, sdk.CodeNotFound, sdk.CodeUnsupported:
		f.Permanent = true
	}
	return f
}

// exitMessage says in words how an instance ended.
func exitMessage(exit *sdk.Exit) string {
	switch {
	case exit == nil:
		return "exited; the driver does not know how"
	case exit.Message != "":
		return exit.Message
	case exit.OOM:
		return "ended because it ran out of memory"
	case exit.Signal != "":
		return "ended by " + exit.Signal
	case exit.Code < 0:
		return "exited with an unknown status"
	}
	return fmt.Sprintf("exited with status %d", exit.Code)
}

// lastLines are the last lines that the instance wrote, as far as they can be had at once.
func (l *life) lastLines(ctx context.Context) []string {
	driver, err := l.compute.driver()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lastLinesTimeout)
	defer cancel()
	var lines []string
	err = driver.Logs(ctx, l.id, sdk.LogOptions{Tail: lastLinesMax}, func(line sdk.LogLine) error {
		lines = append(lines, shortened(line.Text))
		if len(lines) > lastLinesMax {
			lines = slices.Delete(lines, 0, 1)
		}
		return nil
	})
	if err != nil {
		l.log.Debug("cannot read the last lines of an instance", "error", err)
	}
	return lines
}

// shortened makes a line fit for an audit record: bounded, valid UTF-8.
func shortened(line string) string {
	if len(line) > lastLineBytes {
		line = line[:lastLineBytes] + " …"
	}
	return strings.ToValidUTF8(line, "�")
}
