package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Config is what an operator can set, in etc/shop.json or by environment variables, which win.
type Config struct {
	Banner string `json:"banner"` // shown on every page; SHOP_BANNER
	Fault  Fault  `json:"fault"`
}

// Fault makes the shop misbehave.
type Fault struct {
	// Crash ends the shop at its start, with this message; SHOP_CRASH.
	Crash string `json:"crash"`
	// NeverHealthy makes /healthz answer 503 for ever; SHOP_NEVER_HEALTHY=true.
	NeverHealthy bool `json:"never_healthy"`
	// UnhealthyAfter makes /healthz answer 503 from this long after the start on, while everything
	// else goes on working; zero means never; SHOP_UNHEALTHY_AFTER=5s.
	UnhealthyAfter Duration `json:"unhealthy_after"`
}

// Duration is a time.Duration that JSON writes as "5s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler. The empty text is zero.
func (d *Duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration such as 5s", text)
	}
	*d = Duration(v)
	return nil
}

// LoadConfig reads the file at path, if there is one, and then the environment.
func LoadConfig(path string, env func(string) (string, bool)) (Config, error) {
	cfg := Config{Banner: "Good things, freshly replaced"}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return cfg, err
	default:
		if err := json.Unmarshal(data, &cfg); err != nil {
			return cfg, fmt.Errorf("%s: %w", path, err)
		}
	}
	err = cfg.override(env)
	return cfg, err
}

func (c *Config) override(env func(string) (string, bool)) error {
	if v, ok := env("SHOP_BANNER"); ok {
		c.Banner = v
	}
	if v, ok := env("SHOP_CRASH"); ok {
		c.Fault.Crash = v
	}
	if v, ok := env("SHOP_NEVER_HEALTHY"); ok {
		c.Fault.NeverHealthy = v == "true"
	}
	if v, ok := env("SHOP_UNHEALTHY_AFTER"); ok {
		if err := c.Fault.UnhealthyAfter.UnmarshalText([]byte(v)); err != nil {
			return fmt.Errorf("SHOP_UNHEALTHY_AFTER: %w", err)
		}
	}
	return nil
}

// Identity says who answers.
type Identity struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // as instar numbers it; "0" outside of instar
	Instance string `json:"instance"`
	Pid      int    `json:"pid"`
}

// IdentityFromEnv reads what instar tells its instances.
func IdentityFromEnv(built string, env func(string) (string, bool)) Identity {
	get := func(name, other string) string {
		if v, ok := env(name); ok {
			return v
		}
		return other
	}
	return Identity{
		Version:  get("SHOP_VERSION", built),
		Revision: get("INSTAR_REVISION", "0"),
		Instance: get("INSTAR_INSTANCE", "none"),
		Pid:      os.Getpid(),
	}
}
