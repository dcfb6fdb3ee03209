package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func env(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := pairs[name]
		return v, ok
	}
}

func TestLoadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.json")
	if err := os.WriteFile(path, []byte(`{"banner":"from the file","fault":{"unhealthy_after":"5s"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadConfig(path, env(nil))
	if err != nil || cfg.Banner != "from the file" || cfg.Fault.UnhealthyAfter != Duration(5*time.Second) {
		t.Errorf("file alone: %+v, error %v", cfg, err)
	}
	cfg, err = LoadConfig(path, env(map[string]string{
		"SHOP_BANNER": "from outside", "SHOP_CRASH": "no luck", "SHOP_NEVER_HEALTHY": "true", "SHOP_UNHEALTHY_AFTER": "",
	}))
	want := Config{Banner: "from outside", Fault: Fault{Crash: "no luck", NeverHealthy: true}}
	if err != nil || cfg != want {
		t.Errorf("environment: %+v, error %v, want %+v", cfg, err, want)
	}
	if cfg, err = LoadConfig(filepath.Join(t.TempDir(), "none"), env(nil)); err != nil || cfg.Banner == "" {
		t.Errorf("no file: %+v, error %v, want a banner and no error", cfg, err)
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.json")
	if err := os.WriteFile(path, []byte(`{"fault":{"unhealthy_after":"soon"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path, env(nil)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("bad duration in the file: error %v, want one that names %s", err, path)
	}
	_, err := LoadConfig("", env(map[string]string{"SHOP_UNHEALTHY_AFTER": "-1s"}))
	if err == nil || !strings.Contains(err.Error(), "SHOP_UNHEALTHY_AFTER") {
		t.Errorf("bad duration in the environment: error %v, want one that names it", err)
	}
}

func TestRunSaysWhyItCannotStart(t *testing.T) {
	t.Setenv("SHOP_CRASH", "the shelves are empty")
	if err := run(t.Context(), "127.0.0.1:0", ""); err == nil || !strings.Contains(err.Error(), "the shelves are empty") {
		t.Errorf("error %v, want the configured one", err)
	}
}

func TestIdentityFromEnv(t *testing.T) {
	if got := IdentityFromEnv("3", env(nil)); got != (Identity{"3", "0", "none", os.Getpid()}) {
		t.Errorf("outside of instar: %+v", got)
	}
	got := IdentityFromEnv("3", env(map[string]string{"SHOP_VERSION": "4", "INSTAR_REVISION": "9", "INSTAR_INSTANCE": "shop-x"}))
	if got != (Identity{"4", "9", "shop-x", os.Getpid()}) {
		t.Errorf("as an instance: %+v", got)
	}
}
