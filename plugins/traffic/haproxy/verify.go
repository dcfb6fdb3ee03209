package haproxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

// commandLine is how the master process was started; nil if this process may not know, or cannot because
// HAProxy runs elsewhere.
func commandLine(master int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", master))
	if err != nil || len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// configArguments picks from a command line what says which configuration is loaded and how it is read.
func configArguments(args []string) (kept []string) {
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "-f", "-C", "-L", "-n", "-m":
			if i+1 < len(args) {
				kept = append(kept, args[i], args[i+1])
				i++
			}
		case "-S", "-p", "-x", "-sf", "-st", "-N":
			i++
		case "--":
			return append(kept, args[i:]...)
		}
	}
	return kept
}

// verifyConfig has the running HAProxy's own program check the configuration that a reload would load. Where
// that is not possible, the reload itself tells.
func verifyConfig(ctx context.Context, master int) error {
	args := configArguments(commandLine(master))
	if len(args) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/%d/exe", master), append([]string{"-c"}, args...)...)
	cmd.Dir = fmt.Sprintf("/proc/%d/cwd", master)
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", master)); err == nil {
		for entry := range bytes.SplitSeq(bytes.TrimSuffix(env, []byte{0}), []byte{0}) {
			if !bytes.HasPrefix(entry, []byte("HAPROXY_")) && !bytes.HasPrefix(entry, []byte("NOTIFY_SOCKET=")) {
				cmd.Env = append(cmd.Env, string(entry))
			}
		}
	}
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState == nil || !bytes.Contains(out, []byte("[ALERT]")) {
		return nil
	}
	return sdk.Unavailable(time.Second, "HAProxy would not load its configuration, so it was not told to: %s", alerts(string(out)))
}

// alerts are the lines that matter of what haproxy -c says.
func alerts(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "[ALERT]") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines[:min(len(lines), 4)], " | ")
}
