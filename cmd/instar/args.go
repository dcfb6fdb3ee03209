package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves flags in front of positional arguments, because urfave/cli stops to look for flags
// at the first positional one and people write `instar apply shop.hcl -var version=2`. Everything after
// "--" stays where it is.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	out := []string{args[0]}
	flags, commands := app.Flags, app.Commands
	rest := args[1:]
	for len(rest) > 0 {
		n := leadingFlags(flags, rest)
		out = append(out, rest[:n]...)
		rest = rest[n:]
		if len(rest) == 0 || rest[0] == "--" {
			return append(out, rest...)
		}
		cmd := find(commands, rest[0])
		if cmd == nil {
			break
		}
		out = append(out, rest[0])
		rest = rest[1:]
		flags, commands = cmd.Flags, cmd.Subcommands
	}
	moved, positional := partition(flags, rest)
	return append(append(out, moved...), positional...)
}

// leadingFlags counts the words at the beginning of args that are flags or their values.
func leadingFlags(flags []cli.Flag, args []string) int {
	n := 0
	for n < len(args) && isFlag(args[n]) {
		n += words(flags, args[n:])
	}
	return min(n, len(args))
}

func partition(flags []cli.Flag, args []string) (moved, positional []string) {
	for i := 0; i < len(args); {
		switch {
		case args[i] == "--":
			return moved, append(positional, args[i:]...)
		case isFlag(args[i]):
			n := min(words(flags, args[i:]), len(args)-i)
			moved = append(moved, args[i:i+n]...)
			i += n
		default:
			positional = append(positional, args[i])
			i++
		}
	}
	return moved, positional
}

func isFlag(word string) bool {
	return len(word) > 1 && word[0] == '-' && word != "--"
}

// words is how many words the flag at args[0] takes: two if its value is a word of its own.
func words(flags []cli.Flag, args []string) int {
	name := strings.TrimLeft(args[0], "-")
	if strings.Contains(name, "=") {
		return 1
	}
	for _, f := range flags {
		for _, n := range f.Names() {
			if n != name {
				continue
			}
			if _, boolean := f.(*cli.BoolFlag); boolean {
				return 1
			}
			return 2
		}
	}
	return 1 // unknown: urfave/cli says so
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}
