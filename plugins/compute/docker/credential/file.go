package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Hub is the host of Docker's own registry, and hubKey how files and helpers call it.
const (
	Hub    = "docker.io"
	hubKey = "https://index.docker.io/v1/"
)

// Credential is what a registry asks for. The zero Credential is nobody.
type Credential struct {
	Username, Password string
	Token              string // an identity token, in the place of a password
}

type config struct {
	Auths   map[string]entry  `json:"auths"`
	Store   string            `json:"credsStore"`
	Helpers map[string]string `json:"credHelpers"`
}

type entry struct {
	Auth     string `json:"auth"` // base64 of USER:PASSWORD
	Username string `json:"username"`
	Password string `json:"password"`
	Token    string `json:"identitytoken"`
}

// maxFile is more than any such file has.
const maxFile = 1 << 20

// For returns the credential for a registry's host ("registry.example:5000") by the file at path. Errors never
// hold anything of a credential.
func For(ctx context.Context, path, host string) (Credential, error) {
	cfg, err := read(path)
	if err != nil {
		return Credential{}, err
	}
	for _, key := range keys(host) {
		if helper, ok := cfg.Helpers[key]; ok {
			return ask(ctx, helper, key)
		}
	}
	for key, e := range cfg.Auths {
		if hostOf(key) != hostOf(keys(host)[0]) {
			continue
		}
		if c, err := e.credential(); err != nil || c != (Credential{}) {
			if err != nil {
				err = fmt.Errorf("%s: auths[%q]: %w", path, key, err)
			}
			return c, err
		}
	}
	if cfg.Store != "" {
		return ask(ctx, cfg.Store, keys(host)[0])
	}
	return Credential{}, nil
}

func read(path string) (config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return config{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return config{}, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no file of a config.json's size")}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return config{}, err
	}
	var cfg config
	if err := json.Unmarshal(data, &cfg); err != nil {
		// The error of json may quote what is there.
		return config{}, fmt.Errorf("%s is no JSON object as Docker's config.json is one", path)
	}
	return cfg, nil
}

// keys are what a registry may be called in a file, the usual one first.
func keys(host string) []string {
	if host == Hub {
		return []string{hubKey, "index.docker.io", Hub, "registry-1.docker.io"}
	}
	return []string{host, "https://" + host, "http://" + host}
}

// hostOf leaves out what old files write around a host.
func hostOf(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	if host == Hub || host == "registry-1.docker.io" {
		return "index.docker.io"
	}
	return host
}

func (e entry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, Token: e.Token}
	if e.Auth == "" {
		return c, nil
	}
	plain, err := base64.StdEncoding.DecodeString(e.Auth)
	user, password, ok := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
	if err != nil || !ok {
		return Credential{}, errors.New("its auth is not the base64 of USER:PASSWORD")
	}
	c.Username, c.Password = user, password
	return c, nil
}
