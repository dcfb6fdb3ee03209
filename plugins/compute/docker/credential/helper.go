package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

const (
	// answerWithin is how long a helper may take: some ask a server.
	answerWithin = 30 * time.Second
	// endWithin is how long after its end something that a helper has started may hold its output.
	endWithin = time.Second
)

var helperRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ask runs docker-credential-NAME, which is found in PATH as Docker's client finds it.
func ask(ctx context.Context, name, key string) (Credential, error) {
	if !helperRE.MatchString(name) {
		return Credential{}, fmt.Errorf("%q is no name of a credential helper", name)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	program := "docker-credential-" + name
	cmd := exec.CommandContext(ctx, program, "get") //nolint:gosec // the administrator names it
	cmd.Stdin = strings.NewReader(key)
	cmd.WaitDelay = endWithin
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	if err != nil && strings.Contains(out.String(), "credentials not found") {
		return Credential{}, nil // of this registry it knows nothing, which is no failure
	}
	if err != nil {
		// What it has printed stays here: it may hold the secret.
		return Credential{}, fmt.Errorf("%s get for %s: %w", program, key, err)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return Credential{}, fmt.Errorf("%s get for %s: its answer is no JSON object with Username and Secret", program, key)
	}
	if answer.Username == "<token>" {
		return Credential{Token: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}
