// Command announce tells the test that an instance has been made, and then becomes the program that the
// instance is for: announce URL PROGRAM ARGUMENTS… It posts the instance's id and its own process id, which
// the program keeps, so that a test can count how often an instance was made whatever the log says. A path
// in place of the URL is a file that gets a line instead, for hosts whose network is cut off.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Birth is what is posted.
type Birth struct {
	Instance string `json:"instance"`
	Revision string `json:"revision"`
	Pid      int    `json:"pid"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "announce:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want a URL and a program, got %q", args)
	}
	birth := Birth{Instance: os.Getenv("INSTAR_INSTANCE"), Revision: os.Getenv("INSTAR_REVISION"), Pid: os.Getpid()}
	tell := post
	if strings.HasPrefix(args[0], "/") {
		tell = note
	}
	if err := tell(args[0], birth); err != nil {
		return err
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args[1:], os.Environ())
}

func post(url string, birth Birth) error {
	body, err := json.Marshal(birth)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

// note adds a line to a file. Lines of several processes do not mix: each is one short write at the end.
func note(path string, birth Birth) error {
	line, err := json.Marshal(birth)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}
