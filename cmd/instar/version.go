package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/instarhq/instar/core/api/client"
)

func (u *ui) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "the versions of this client and of the daemon", Description: "Example:\n  instar version -o json",
		Action: func(c *cli.Context) error {
			out := map[string]string{"client": version}
			api, err := connect(c)
			if err != nil {
				return err
			}
			if h, err := api.Health(c.Context); err == nil {
				out["daemon"], out["address"] = h.Version, api.Address()
			}
			return u.show(c, out, func() error {
				say(u.out, "instar  %s\n", version)
				if out["daemon"] != "" {
					say(u.out, "instard %s at %s\n", out["daemon"], out["address"])
					return nil
				}
				say(u.out, "instard does not answer at %s\n", client.Discover(flag(c, "address")))
				return nil
			})
		},
	}
}

// The scripts ask the program itself for completions, which urfave/cli answers.
var completions = map[string]string{
	"bash": `_instar() {
  local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o bashdefault -o default -F _instar instar
`,
	"zsh": `#compdef instar
_instar() {
  local -a opts
  opts=("${(@f)$(${words[1,CURRENT-1]} --generate-bash-completion 2>/dev/null)}")
  (( ${#opts} )) && compadd -- "${opts[@]}"
  _files
}
compdef _instar instar
`,
	"fish": `complete -c instar -f -a '(set -l words (commandline -opc); $words --generate-bash-completion 2>/dev/null)'
complete -c instar -F
`,
}

func (u *ui) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script", ArgsUsage: "bash|zsh|fish",
		Description: "Example:\n  instar completion bash > /etc/bash_completion.d/instar",
		Action: func(c *cli.Context) error {
			shell, err := one(c, "shell")
			if err != nil {
				return err
			}
			script, ok := completions[shell]
			if !ok {
				return usage("there is no completion for %q", shell).withHint("bash, zsh or fish")
			}
			_, err = fmt.Fprint(u.out, script)
			return err
		},
	}
}
