package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Repository finds the root of the source tree above the working directory.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "instard")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder above the working directory holds cmd/instard: run this inside the repository")
		}
		dir = parent
	}
}

// Build builds every binary of cmd into the folder out, with the race detector if race is set.
func Build(ctx context.Context, repository, out string, race bool) error {
	args := []string{"build", "-ldflags=-w", "-o", out + string(filepath.Separator)} // no debugger comes
	if race {
		args = append(args, "-race")
	}
	return goTool(ctx, repository, append(args, "./cmd/...")...)
}

// BuildPackage builds one main package into the file out.
func BuildPackage(ctx context.Context, repository, pkg, out string) error {
	return goTool(ctx, repository, "build", "-o", out, pkg)
}

// Lock accepts driver binaries for a data directory, which it makes.
func Lock(ctx context.Context, bin, dataDir string, drivers ...string) error {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	args := append([]string{"lock", "-data-dir", dataDir}, drivers...)
	if out, err := exec.CommandContext(ctx, filepath.Join(bin, "instard"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("instard lock: %w\n%s", err, out)
	}
	return nil
}

func goTool(ctx context.Context, dir string, args ...string) error {
	return runGo(ctx, dir, nil, args...)
}

func runGo(ctx context.Context, dir string, environment []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}
