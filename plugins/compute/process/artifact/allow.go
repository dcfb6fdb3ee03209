package artifact

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// CheckBase refuses what cannot be an element of Limits.Sources.
func CheckBase(base string) error {
	if filepath.IsAbs(base) {
		return nil
	}
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is neither an absolute path nor an http or https URL", base)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return errors.New("a URL that others must be below has neither ? nor #")
	}
	return nil
}

// allowPath returns the directory of Sources that resolved is in; the root without Sources. Sources that
// do not exist allow nothing.
func (l Limits) allowPath(given, resolved string) (base string, err error) {
	if len(l.Sources) == 0 {
		return "/", nil
	}
	for _, base := range l.Sources {
		if base, err = filepath.EvalSymlinks(base); err != nil || !filepath.IsAbs(base) {
			continue
		}
		if inside, err := filepath.Rel(base, resolved); err == nil && filepath.IsLocal(inside) {
			return base, nil
		}
	}
	return "", l.notAllowed(given)
}

// mayBe reports whether a path that leads nowhere is below one of Sources by its name.
func (l Limits) mayBe(given string) bool {
	for _, base := range l.Sources {
		for _, dir := range []string{base, resolvedOr(base)} {
			if inside, err := filepath.Rel(dir, given); filepath.IsAbs(dir) && err == nil && filepath.IsLocal(inside) {
				return true
			}
		}
	}
	return len(l.Sources) == 0
}

func resolvedOr(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return path
}

func (l Limits) allowURL(u *url.URL) error {
	if len(l.Sources) == 0 {
		return nil
	}
	for _, text := range l.Sources {
		base, err := url.Parse(text)
		if err != nil || base.Host == "" || base.Scheme != u.Scheme || !strings.EqualFold(base.Host, u.Host) {
			continue
		}
		// The server may understand . and .. in the path, whatever way they are written.
		below := strings.TrimSuffix(base.Path, "/") + "/"
		if strings.HasPrefix(u.Path, below) && path.Clean(u.Path) == u.Path && !strings.Contains(u.Path, `\`) {
			return nil
		}
	}
	return l.notAllowed(u.Redacted())
}

func (l Limits) notAllowed(source string) error {
	return refuse("%s is not below any of the target's artifact_sources (%s)", source, strings.Join(l.Sources, ", "))
}
