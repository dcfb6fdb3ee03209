package launch

import (
	"os"
	"syscall"
	"time"
)

// The stage runs before TestMain, so its crash points are set where package variables are: a file in the
// instance's directory, where the stage is, names the step.
var _ = func() bool {
	crash = func(step string) {
		if content("crash-at") == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		for content("wait-at") == step {
			_ = os.WriteFile("waiting", nil, 0o600)
			<-time.After(time.Millisecond)
		}
	}
	return true
}()

func content(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(data)
}
