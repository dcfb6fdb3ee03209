package installed

import (
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// Remove removes an installed driver, by its name or its file's, unless it is in use. With force only the name counts.
func (m Machine) Remove(name string, u Use, force bool) (lockfile.Installation, error) {
	if err := m.check(); err != nil {
		return lockfile.Installation{}, err
	}
	content, err := m.lock().Read()
	if err != nil {
		return lockfile.Installation{}, err
	}
	file, err := m.named(name, content)
	if err != nil {
		return lockfile.Installation{}, err
	}
	i := content.Installed[file]
	if !force {
		if err := u.refuse(i.Kind, i.Name); err != nil {
			return i, err
		}
	}
	return m.lock().Remove(file)
}

// named finds the one installed driver that is meant.
func (m Machine) named(name string, content lockfile.Content) (string, error) {
	var found []string
	for file, i := range content.Installed {
		if file == name || i.Name == name {
			found = append(found, file)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", core.Errorf(core.CodeInvalid, "several drivers are called %s", name).
			WithHint("say which: instar driver remove %s", strings.Join(found, " or "))
	}
	e := core.Errorf(core.CodeNotFound, "no driver %s was installed here by instar driver install", name)
	for file := range content.Drivers {
		if _, driver, _ := parse(file); file == name || driver == name {
			return "", e.WithHint("%s came with instard, or was accepted by instard lock: remove its file by hand", file)
		}
	}
	return "", e.WithHint("instar driver list -installed shows those that were")
}
