package durable_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"one", "two"} {
		if err := durable.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != text {
			t.Errorf("the file is %q, %v", data, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside the file there is %v, %v", left, err)
	}
	if err := durable.WriteFile(filepath.Join(path, "x"), nil, 0o600); err == nil {
		t.Error("writing below a file succeeds")
	}
}

func TestReadJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.WriteJSON(path, map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	if err := durable.ReadJSON(path, &got); err != nil || got["a"] != 1 {
		t.Errorf("read %v, %v", got, err)
	}
	if err := durable.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.ReadJSON(path, &got); err == nil || !strings.Contains(err.Error(), path+" is damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestRemoveTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "b", "c"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	for _, closed := range []string{"a/b", "a", "."} {
		if err := os.Chmod(filepath.Join(dir, closed), 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := durable.RemoveTree(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the tree is still there: %v", err)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		code sdk.Code
		part string
	}{
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, sdk.CodeUnavailable, "/state is full"},
		{fmt.Errorf("deep: %w", syscall.EDQUOT), sdk.CodeUnavailable, "quota of /state"},
		{syscall.EROFS, sdk.CodeUnavailable, "read-only"},
		{syscall.EMFILE, sdk.CodeUnavailable, "short of resources"},
		{sdk.InvalidConfig("a", "no space: %w", syscall.ENOSPC), sdk.CodeInvalidConfig, "a: no space"},
		{errors.New("other"), sdk.CodeInternal, "other"},
		{fmt.Errorf("x: %w", context.Canceled), sdk.CodeInternal, "canceled"},
	} {
		got := durable.Explain(c.err, "/state")
		if sdk.CodeOf(got) != c.code || !strings.Contains(got.Error(), c.part) || !errors.Is(got, c.err) && c.code != sdk.CodeUnavailable {
			t.Errorf("%v becomes %s: %v", c.err, sdk.CodeOf(got), got)
		}
	}
	if durable.Explain(nil, "/state") != nil {
		t.Error("no error becomes one")
	}
}
