package docker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/instarhq/instar/sdk"
)

// blames says which attribute an engine's message is about: its errors have no better structure.
var blames = []struct{ text, attribute string }{
	{"port is already allocated", ""},
	{"address already in use", ""},
	{"cannot assign requested address", "address"},
	{"unable to find user", "user"},
	{"unable to find group", "user"},
	{"no matching entries in passwd", "user"},
	{"capdrop", "cap_drop"},
	{"capability", "cap_add"},
	{"log opt", "log_options"},
	{"log driver", "log_driver"},
	{"logging driver", "log_driver"},
	{"logging plugin", "log_driver"},
	{"tmpfs", "tmpfs"},
	{"minimum memory limit", "resources.memory"},
	{"memory limit", "resources.memory"},
	{"range of cpus", "resources.cpu"},
	{"executable file not found", "command"},
	{"no command specified", "command"},
	{"argument list too long", "command"},
	{"exec format error", "artifact.source"},
	{"not a directory", "mount"},
	{"read-only file system", "mount"},
	{"permission denied", "command"},
	{"no such file or directory", "command"},
}

// explainCreate says which attribute the engine did not like.
func explainCreate(err error) error {
	switch sdk.CodeOf(err) {
	case sdk.CodeNotFound:
		if explained := blame(err); sdk.CodeOf(explained) == sdk.CodeInvalidConfig {
			return explained
		}
		// The image was there a moment ago; and networks are looked up at the start.
		return sdk.Unavailable(retryAfter, "%w", err)
	case sdk.CodeInvalidConfig, sdk.CodeInternal:
		return blame(err)
	}
	return err
}

// explainStart says why a container did not start.
func explainStart(err error, networks []string) error {
	switch sdk.CodeOf(err) {
	case sdk.CodeNotFound:
		for n, name := range networks {
			if strings.Contains(err.Error(), "network "+name+" not found") {
				return explainNetwork(n, err)
			}
		}
		return sdk.Unavailable(retryAfter, "%w", err)
	case sdk.CodeInvalidConfig, sdk.CodeInternal:
		return blame(err)
	}
	return err
}

func explainNetwork(n int, err error) error {
	switch sdk.CodeOf(err) {
	case sdk.CodeNotFound, sdk.CodeInvalidConfig, sdk.CodeInternal:
		return sdk.InvalidConfig(fmt.Sprintf("networks[%d]", n), "%w", err)
	}
	return err
}

// blame finds the attribute. An error of the engine's that is about none of them stays as it is.
func blame(err error) error {
	var typed *sdk.Error
	if errors.As(err, &typed) && typed.Attribute != "" || ctxEnded(err) {
		return err
	}
	message := strings.ToLower(err.Error())
	for _, b := range blames {
		if !strings.Contains(message, b.text) {
			continue
		}
		if b.attribute == "" {
			return sdk.Unavailable(retryAfter, "%w", err)
		}
		return sdk.InvalidConfig(b.attribute, "%w", err)
	}
	return err
}
