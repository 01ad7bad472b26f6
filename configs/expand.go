package configs

import "strings"

// ${NAME}, ${NAME:-default} and file:PATH: what a value takes from outside.
// Messages name the variable or the path, never what it holds.

const maxSecretFile = 64 << 10 // bytes

// hasVariable reports whether s holds something expand would replace.
func hasVariable(s string) bool { return strings.Contains(s, "${") }

// expand returns the text of n with its variables replaced.
func (r *reader) expand(n *node) (string, bool) {
	if !hasVariable(n.text) {
		return n.text, true
	}
	var b strings.Builder
	rest, good := n.text, true
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			b.WriteString(rest)
			return b.String(), good
		}
		if i > 0 && rest[i-1] == '$' {
			b.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		b.WriteString(rest[:i])
		name, after, closed := strings.Cut(rest[i+2:], "}")
		if !closed {
			r.report(n.at, "has a ${ without its }; write $${ for a plain ${")
			return "", false
		}
		value, ok := r.variable(n, name)
		good = good && ok
		b.WriteString(value)
		rest = after
	}
}

// variable looks up what stands between ${ and }. A default stands in for a
// variable that is not set or empty, as in a shell.
func (r *reader) variable(n *node, reference string) (string, bool) {
	name, fallback, hasDefault := strings.Cut(reference, ":-")
	if !variableName(name) {
		r.report(n.at, "has a ${…} that is neither ${NAME} nor ${NAME:-default}; write $${ for a plain ${")
		return "", false
	}
	value, set := r.env(name)
	switch {
	case hasDefault && value == "":
		return fallback, true
	case !set:
		r.report(n.at, "the environment variable %s is not set; set it or write ${%s:-default}", name, name)
		return "", false
	}
	return value, true
}

func variableName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (!isAlnum(c) || i == 0 && c <= '9') {
			return false
		}
	}
	return s != "" && len(s) <= quoteMax
}

// secret returns the secret n stands for: its text, or the content of the file
// it names. Literally empty means none; empty from outside is a mistake.
func (r *reader) secret(n *node) (string, bool) {
	s, ok := r.expand(n)
	if !ok {
		return "", false
	}
	path, isFile := strings.CutPrefix(s, "file:")
	switch {
	case isFile:
		return r.secretFile(n, path)
	case s == "" && hasVariable(n.text) && !strings.Contains(n.text, ":-"):
		r.report(n.at, "the environment variable is set, but empty")
		return "", false
	}
	return s, true
}

func (r *reader) secretFile(n *node, path string) (string, bool) {
	shown := "the file it names" // its path came from the environment
	if !hasVariable(n.text) {
		shown = quote(path)
	}
	r.secrets = append(r.secrets, path)
	data, err := r.readFile(path)
	content := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		r.report(n.at, "cannot read %s: %s", shown, reason(err))
	case len(data) > maxSecretFile:
		r.report(n.at, "%s is bigger than %s", shown, formatSize(maxSecretFile))
	case content == "":
		r.report(n.at, "%s is empty", shown)
	default:
		return content, true
	}
	return "", false
}
