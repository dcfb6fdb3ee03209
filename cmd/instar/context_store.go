package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/instarhq/instar/core/api/client"
)

// saved is a login: where a cluster is, how it is known, and as whom it is spoken to.
type saved struct {
	Address     string `json:"address"`
	CA          string `json:"ca,omitempty"` // PEM
	Token       string `json:"token,omitempty"`
	Certificate string `json:"certificate,omitempty"` // PEM
	Key         string `json:"key,omitempty"`         // PEM
}

func (s saved) options() client.Options {
	return client.Options{Address: s.Address, CA: s.CA, Token: s.Token, Certificate: s.Certificate, Key: s.Key}
}

// contextStore is where logins are kept: a file for each, which only its owner can read, and one that names
// the one in use.
//
//	CONFIG/instar/contexts/NAME.json
//	CONFIG/instar/context
type contextStore struct{ dir string }

func contexts() (contextStore, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return contextStore{}, fmt.Errorf("where contexts are kept: %w", err)
	}
	return contextStore{filepath.Join(dir, "instar")}, nil
}

var contextName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

func (s contextStore) file(name string) (string, error) {
	if !contextName.MatchString(name) {
		return "", usage("%q is no name of a context", name).withHint("letters, digits, dots and hyphens")
	}
	return filepath.Join(s.dir, "contexts", name+".json"), nil
}

// load reads a context. One that others can read is not used: it holds a secret.
func (s contextStore) load(name string) (saved, error) {
	var out saved
	path, err := s.file(name)
	if err != nil {
		return out, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, usage("there is no context %q", name).withHint("instar context list shows them, instar login ADDRESS makes one")
	}
	if err != nil {
		return out, fmt.Errorf("context %s: %w", name, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return out, (&exitError{code: exitFailed, message: fmt.Sprintf("%s can be read by others", path)}).
			withHint("if nobody has: chmod 600 it; else have its token revoked, and log in with another one")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return out, fmt.Errorf("context %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, (&exitError{code: exitFailed, message: fmt.Sprintf("%s does not decode: %v", path, err)}).withHint("log in again: instar login ADDRESS -name %s", name)
	}
	return out, nil
}

// save writes a context so that it is there whole or as before.
func (s contextStore) save(name string, c saved) error {
	path, err := s.file(name)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("context %s: %w", name, err)
	}
	return replaceFile(path, append(data, '\n'))
}

func (s contextStore) list() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "contexts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("contexts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// current names the context in use; empty: none.
func (s contextStore) current() (string, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, "context"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("context in use: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// use makes a context the one in use; an empty name: none.
func (s contextStore) use(name string) error {
	path := filepath.Join(s.dir, "context")
	if name == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("context in use: %w", err)
		}
		return nil
	}
	return replaceFile(path, []byte(name+"\n"))
}

func (s contextStore) remove(name string) error {
	path, err := s.file(name)
	if err != nil {
		return err
	}
	if current, err := s.current(); err != nil {
		return err
	} else if current == name {
		if err := s.use(""); err != nil {
			return err
		}
	}
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return usage("there is no context %q", name).withHint("instar context list shows them")
	} else if err != nil {
		return fmt.Errorf("context %s: %w", name, err)
	}
	return nil
}

// replaceFile writes a file that only its owner can read.
func replaceFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already if all went well
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(temp.Name(), path)
}
