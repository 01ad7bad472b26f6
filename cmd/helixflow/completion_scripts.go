package main

// The completion scripts of bash, zsh and fish. Names come from our own grammar
// and need no quotes; helps do.

import (
	"fmt"
	"strings"
)

// bashScript works without the bash-completion package, and on bash 3.2, which
// macOS has.
func bashScript(list []place) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`# bash completion for helixflow, made by "helixflow completion bash".
_helixflow() {
    local cur=${COMP_WORDS[COMP_CWORD]} place= prev= word words= files= IFS=$' \t\n'
    local -a before=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    COMPREPLY=()
    if [[ $cur == = ]]; then # bash takes --flag=value for three words
        cur=
    elif [[ ${#before[@]} -gt 1 && ${before[${#before[@]}-1]} == = ]]; then
        unset "before[${#before[@]}-1]"
    fi
    for word in "${before[@]}"; do
        prev=$word
        case "$place $word" in`)
	var labels []string
	for _, p := range paths(list) {
		at := strings.LastIndexByte(p, ' ')
		labels = append(labels, fmt.Sprintf(`"%s %s"`, p[:max(at, 0)], p[at+1:]))
	}
	line("            %s)", strings.Join(labels, " | "))
	line(`                place=${place:+$place }$word ;;
        esac
    done
    case "$place:$prev" in`)
	for _, p := range list {
		for _, f := range p.flags {
			if f.takes {
				line("        %s) %s ;;", bashLabels(p.path, f.names), bashOffer(f.words, f.files))
			}
		}
	}
	line(`        *) case "$place" in`)
	for _, p := range list {
		words := append(append([]string{}, p.commandNames()...), p.words...)
		line("            %q)", p.path)
		line("                if [[ $cur == -* ]]; then words=%q; else %s; fi ;;", strings.Join(p.flagNames(), " "), bashOffer(words, p.files))
	}
	line(`        esac ;;
    esac
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        IFS=$'\n'
        COMPREPLY=($(compgen -f -- "$cur"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    fi
}
complete -F _helixflow helixflow`)
	return b.String()
}

func bashLabels(path string, names []string) string {
	var labels []string
	for _, n := range names {
		labels = append(labels, fmt.Sprintf("%q", path+":"+n))
	}
	return strings.Join(labels, " | ")
}

func bashOffer(words []string, files bool) string {
	if files {
		return "files=1"
	}
	return fmt.Sprintf("words=%q", strings.Join(words, " "))
}

// zshScript has one call of _arguments for each command.
func zshScript(list []place) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`#compdef helixflow
# zsh completion for helixflow, made by "helixflow completion zsh".
_helixflow() {
    local place word
    local -a commands
    integer depth=1
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$place $word" in`)
	for _, p := range paths(list) {
		at := strings.LastIndexByte(p, ' ')
		line(`            "%s %s") place=%q; (( depth++ )) ;;`, p[:max(at, 0)], p[at+1:], p)
	}
	line(`        esac
    done
    words=("${(@)words[depth,-1]}")
    (( CURRENT -= depth - 1 ))
    case "$place" in`)
	for i := range list {
		p := &list[i]
		line("        %q)", p.path)
		if len(p.commands) > 0 {
			line("            commands=(")
			for j := range p.commands {
				c := &p.commands[j]
				line("                %s", single(c.name()+":"+strings.ReplaceAll(c.help, ":", `\:`)))
			}
			line("            )")
		}
		line("            _arguments -S%s ;;", zshSpecs(p))
	}
	line(`    esac
}
if [[ $funcstack[1] == _helixflow ]]; then
    _helixflow "$@"
else
    compdef _helixflow helixflow
fi`)
	return b.String()
}

func zshSpecs(p *place) string {
	var b strings.Builder
	add := func(spec string) { b.WriteString(" \\\n                " + spec) }
	for _, f := range p.flags {
		for _, n := range f.names {
			spec := n
			if f.takes && strings.HasPrefix(n, "--") {
				spec += "="
			}
			spec = single("(" + strings.Join(f.names, " ") + ")" + spec + "[" + zshHelp(f.help) + "]" + zshValue(&f))
			add(spec)
		}
	}
	switch {
	case len(p.commands) > 0:
		add(single("1:command:{_describe command commands}"))
	case p.files:
		add(single("*:file:_files"))
	case len(p.words) > 0:
		add(single("1:argument:(" + strings.Join(p.words, " ") + ")"))
	}
	return b.String()
}

func zshValue(f *flagInfo) string {
	switch {
	case !f.takes:
		return ""
	case f.files:
		return ":file:_files"
	case len(f.words) > 0:
		return ":value:(" + strings.Join(f.words, " ") + ")"
	}
	return ":value: "
}

// zshHelp escapes what _arguments would take for its own.
func zshHelp(help string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(help)
}

// fishScript has one line for each command and flag.
func fishScript(list []place) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`# fish completion for helixflow, made by "helixflow completion fish".
function __helixflow_at
    set -l place ''
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        switch "$place $word"`)
	for _, p := range paths(list) {
		at := strings.LastIndexByte(p, ' ')
		line("            case %s", single(p[:max(at, 0)]+" "+p[at+1:]))
		line("                set place %s", single(p))
	}
	line(`        end
    end
    test "$place" = "$argv[1]"
end
complete -c helixflow -f`)
	for i := range list {
		p := &list[i]
		at := "complete -c helixflow -n " + double("__helixflow_at "+single(p.path))
		for j := range p.commands {
			c := &p.commands[j]
			line("%s -a %s -d %s", at, c.name(), single(c.help))
		}
		if p.files {
			line("%s -F", at)
		}
		if len(p.words) > 0 {
			line("%s -a %s", at, single(strings.Join(p.words, " ")))
		}
		for _, f := range p.flags {
			line("%s%s -d %s", at, fishFlag(&f), single(f.help))
		}
	}
	return b.String()
}

func fishFlag(f *flagInfo) string {
	var b strings.Builder
	for _, n := range f.names {
		if long, ok := strings.CutPrefix(n, "--"); ok {
			b.WriteString(" -l " + long)
		} else {
			b.WriteString(" -s " + n[1:])
		}
	}
	switch {
	case f.files:
		b.WriteString(" -r -F")
	case len(f.words) > 0:
		b.WriteString(" -x -a " + single(strings.Join(f.words, " ")))
	case f.takes:
		b.WriteString(" -x")
	}
	return b.String()
}

// single is text in single quotes, as bash, zsh and fish all read them: what
// they do not agree on is left out.
func single(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "’") + "'"
}

// double is text without special characters in double quotes.
func double(text string) string { return `"` + text + `"` }
