package main

// helixflow completion: the completion script of a shell, made from the same
// grammar that parses the command line.

import (
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// CompletionCmd is "helixflow completion".
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell to complete in: ${enum}."`
}

// Help tells where the script goes.
func (*CompletionCmd) Help() string {
	return `In bash:

    source <(helixflow completion bash)

In zsh:

    helixflow completion zsh > "${fpath[1]}/_helixflow"

In fish:

    helixflow completion fish > ~/.config/fish/completions/helixflow.fish`
}

// Run prints the script.
func (c *CompletionCmd) Run(env *Env, ctx *kong.Context) error {
	write := map[string]func([]place) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell]
	_, err := io.WriteString(env.Stdout, write(places(ctx.Model.Node, "")))
	return err
}

// place is a point of a command line where something can follow: the program's
// name and then path.
type place struct {
	path     string // "" or "keys new"
	help     string
	commands []place // that may follow
	flags    []flagInfo
	words    []string // that its arguments may be
	files    bool     // its arguments are files
}

// flagInfo is a flag of a place.
type flagInfo struct {
	names []string // "-c", "--config"
	help  string
	takes bool // a value
	words []string
	files bool
}

// places is n and all below, as the help lists them.
func places(n *kong.Node, path string) []place {
	p := place{path: path, help: firstLine(n.Help)}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			p.flags = append(p.flags, describe(f))
		}
	}
	for _, arg := range n.Positional {
		p.files = p.files || isFile(arg)
		p.words = append(p.words, choices(arg)...)
	}
	var below []place
	for _, child := range n.Children {
		if !child.Hidden {
			list := places(child, strings.TrimSpace(path+" "+child.Name))
			p.commands = append(p.commands, list[0])
			below = append(below, list...)
		}
	}
	return append([]place{p}, below...)
}

func describe(f *kong.Flag) flagInfo {
	info := flagInfo{
		names: []string{"--" + f.Name}, help: firstLine(f.Help), takes: !f.IsBool() && !f.IsCounter(),
		words: choices(f.Value), files: f.PlaceHolder == "FILE",
	}
	if f.Short != 0 {
		info.names = append([]string{"-" + string(f.Short)}, info.names...)
	}
	return info
}

// isFile goes by the help, where every file is called one at once.
func isFile(arg *kong.Positional) bool {
	return strings.HasPrefix(arg.Help, "Configuration file")
}

func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// name is the last word of the path.
func (p *place) name() string {
	return p.path[strings.LastIndexByte(p.path, ' ')+1:]
}

func (p *place) commandNames() []string {
	var names []string
	for i := range p.commands {
		names = append(names, p.commands[i].name())
	}
	return names
}

// flagNames are the names of all flags.
func (p *place) flagNames() []string {
	var names []string
	for _, f := range p.flags {
		names = append(names, f.names...)
	}
	return names
}

// firstLine is a help's first sentence, short enough for a menu.
func firstLine(help string) string {
	help, _, _ = strings.Cut(help, "\n")
	for _, end := range []string{". ", "; "} {
		help, _, _ = strings.Cut(help, end)
	}
	return strings.TrimSuffix(help, ".")
}

// paths are the case labels that recognize a command behind those before it.
func paths(list []place) []string {
	var labels []string
	for _, p := range list[1:] {
		labels = append(labels, p.path)
	}
	return labels
}
