// Command demo is what `make demo` runs: it replaces a real application under load with instar's real
// binaries, rolls it back, breaks it in the ways that happen, and judges what the customers saw.
//
// It tells the story on standard output, ends with a table, writes the figures as JSON, and exits with 0
// only if nobody noticed anything.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	bin := flag.String("bin", "build/bin", "folder with the binaries")
	out := flag.String("out", "build/demo.json", "file for the figures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *bin, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the whole story, and takes down what it made whatever happens.
func run(ctx context.Context, bin, out string) (err error) {
	s, err := open(ctx, bin)
	if err != nil {
		return err
	}
	defer func() { err = s.close(err) }()
	for i, scene := range story {
		s.title(i+1, scene.title)
		if err := scene.play(ctx, s); err != nil {
			return fmt.Errorf("scene %d, %s: %w", i+1, scene.title, err)
		}
	}
	figures, err := s.judge(ctx)
	if err != nil {
		return err
	}
	figures.print(s)
	if err := figures.write(out); err != nil {
		return err
	}
	s.say("figures written to %s", out)
	return figures.verdict()
}
