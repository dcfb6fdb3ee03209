package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/cmd/instar/scaffold"
	"github.com/instarhq/instar/core"
)

func (u *ui) driverNewCommand() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "write the module of a new driver, which works and passes the conformance suite", ArgsUsage: "NAME",
		Description: "The module has a small working driver of the kind, the conformance suite as its test, continuous integration and\n" +
			"a release configuration. It is yours: replace the parts that are about the backend.\n\n" +
			"Example:\n  instar driver new example -kind compute -module github.com/acme/instar-compute-example",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kind", Usage: "compute, traffic or metrics"},
			&cli.StringFlag{Name: "module", Usage: "`PATH` of the Go module (default: example.com/instar-KIND-NAME)"},
			&cli.StringFlag{Name: "dir", Usage: "write it to `DIR`, which is new or empty (default: instar-KIND-NAME)"},
			&cli.StringFlag{Name: "sdk", Usage: "require this `VERSION` of the sdk, or the one in the folder DIR of a checkout (default: this instar's own, or the checkout around)"},
		},
		Action: u.driverNew,
	}
}

func (u *ui) driverNew(c *cli.Context) error {
	name, err := one(c, "name the driver is to have")
	if err != nil {
		return err
	}
	if c.String("kind") == "" {
		return usage("say which kind of driver").withHint("-kind compute runs instances, -kind traffic moves requests to them, -kind metrics answers queries")
	}
	o := scaffold.Options{Name: name, Kind: core.DriverKind(c.String("kind")), Module: c.String("module"), Dir: c.String("dir")}
	if o.Dir == "" {
		o.Dir = o.Binary()
	}
	if o.SDK, err = chooseSDK(c.String("sdk"), o.Dir); err != nil {
		return err
	}
	files, err := scaffold.Write(o)
	if err != nil {
		return err
	}
	result := map[string]any{"dir": o.Dir, "binary": o.Binary(), "files": files}
	return u.show(c, result, func() error { return u.printNew(o, len(files)) })
}

func (u *ui) printNew(o scaffold.Options, files int) error {
	tidy := "go mod tidy       # gets the sdk"
	if o.SDK.Replace != "" {
		tidy = "make              # with the sdk in " + o.SDK.Replace
	}
	_, err := fmt.Fprintf(u.out, "%s: %d files, a %s driver that works. Next:\n  cd %s\n  %s\n  make test         # the conformance suite\n  less README.md\n",
		o.Dir, files, o.Kind, o.Dir, tidy)
	return err
}

var (
	versionLike = regexp.MustCompile(`^v[0-9]`)
	release     = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+)$`)
	sdkModule   = regexp.MustCompile(`(?m)^module github\.com/instarhq/instar/sdk$`)
)

// chooseSDK finds the sdk that a module in dir is to use.
func chooseSDK(given, dir string) (scaffold.SDK, error) {
	if versionLike.MatchString(given) && !isSDK(given) {
		return scaffold.SDK{Version: given}, nil
	}
	if given != "" {
		for _, folder := range []string{given, filepath.Join(given, "sdk")} {
			if isSDK(folder) {
				return replacement(folder, dir)
			}
		}
		return scaffold.SDK{}, usage("%s is neither a version nor the folder of instar's sdk", given).withHint("as in -sdk v1.2.3, or -sdk ../instar/sdk")
	}
	if around, err := checkout(); err != nil || around != "" {
		if err != nil {
			return scaffold.SDK{}, err
		}
		return relative(around, dir)
	}
	if m := release.FindStringSubmatch(version); m != nil {
		return scaffold.SDK{Version: "v" + m[1]}, nil
	}
	return scaffold.SDK{}, usage("this instar is no release (%s), and so does not know which sdk goes with it", version).
		withHint("-sdk VERSION, or -sdk DIR for that of a checkout")
}

func isSDK(folder string) bool {
	data, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	return err == nil && sdkModule.Match(data)
}

// checkout finds the sdk of the checkout that we are in, if we are in one.
func checkout() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for {
		if sdk := filepath.Join(folder, "sdk"); isSDK(sdk) {
			return sdk, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", nil
		}
		folder = parent
	}
}

// replacement is how the go.mod in dir names a folder: as it was given, if that is an absolute path.
func replacement(folder, dir string) (scaffold.SDK, error) {
	if filepath.IsAbs(folder) {
		return scaffold.SDK{Replace: filepath.Clean(folder)}, nil
	}
	return relative(folder, dir)
}

// relative names a folder by its way from dir.
func relative(folder, dir string) (scaffold.SDK, error) {
	target, err := filepath.Abs(folder)
	if err != nil {
		return scaffold.SDK{}, err
	}
	from, err := filepath.Abs(dir)
	if err != nil {
		return scaffold.SDK{}, err
	}
	// The parent exists; symbolic links in it would lead .. elsewhere.
	parent, err := filepath.EvalSymlinks(filepath.Dir(from))
	if errors.Is(err, fs.ErrNotExist) {
		return scaffold.SDK{}, core.Errorf(core.CodeInvalid, "%s does not exist", filepath.Dir(dir))
	}
	if err == nil {
		target, err = filepath.EvalSymlinks(target)
	}
	if err != nil {
		return scaffold.SDK{}, err
	}
	path, err := filepath.Rel(filepath.Join(parent, filepath.Base(from)), target)
	if err != nil {
		return scaffold.SDK{}, err
	}
	if !strings.HasPrefix(path, ".") {
		path = "./" + path
	}
	return scaffold.SDK{Replace: filepath.ToSlash(path)}, nil
}
