package configs

// What a reload would change, in the words of the file.

import (
	"slices"
	"strings"
)

// ChangeKind says what happens to a thing.
type ChangeKind string

// The kinds of change.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// Change is one difference between two configurations. What is secret is
// compared, but neither Old nor New ever holds it.
type Change struct {
	Path    string     `json:"path"` // by name, not by number: pools[llama].backends[http://10.0.0.1:8000].weight
	Kind    ChangeKind `json:"kind"`
	Old     string     `json:"old,omitempty"` // values as an operator writes them; empty for secrets and whole things
	New     string     `json:"new,omitempty"`
	Restart bool       `json:"restart"` // the running process cannot adopt it

	subject string // what an operator would call Path: pool llama: backend http://10.0.0.1:8000: weight
}

// String is the change as a sentence: pool llama: retry.attempts 2 → 3.
func (c Change) String() string {
	var b strings.Builder
	b.WriteString(c.subject)
	if c.Kind == Changed && c.Old+c.New != "" {
		b.WriteString(" " + c.Old + " → " + c.New)
	} else {
		b.WriteString(" " + string(c.Kind))
	}
	if c.Restart {
		b.WriteString(" (needs a restart)")
	}
	return b.String()
}

// Diff returns what is different in next, in the order of the reference file.
// Tenants, pools, models and what else has a name are matched by it, so their
// order does not matter; nor do the hashes of keys that serve generates. Both
// must come from Load, Parse or Inspect, and neither is changed.
func Diff(old, next *Config) []Change {
	var changes []Change
	rootKeys(withoutGenerated(old)).diff(scope{to: &changes}, rootKeys(withoutGenerated(next)))
	for i := range changes {
		c := &changes[i]
		if c.Path == "server.tls.cert" && (old.Server.TLS.Cert == "") != (next.Server.TLS.Cert == "") {
			c.Restart = true // the listener begins or ceases to be HTTPS; other files are adopted
		}
	}
	return changes
}

// withoutGenerated is c without the hashes that serve put there.
func withoutGenerated(c *Config) *Config {
	plain := *c
	plain.Tenants = slices.Clone(c.Tenants)
	for i := range plain.Tenants {
		t := &plain.Tenants[i]
		t.Keys = slices.Clone(t.Keys)
		for j := range t.Keys {
			if t.Keys[j].Generate {
				t.Keys[j].Hash = ""
			}
		}
	}
	return &plain
}

// scope is where a comparison stands.
type scope struct {
	to      *[]Change
	path    string // for programs
	subject string // for people: the things it stands in, each with a colon after it
	key     string // for people: the keys below these, with dots between
	restart bool
}

// into is the scope of a key's value.
func (s scope) into(k *key) scope {
	s.path = dotted(s.path, k.name)
	s.key = dotted(s.key, k.name)
	s.restart = s.restart || k.restart
	return s
}

func dotted(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

// element is the scope of a list's element.
func (s scope) element(noun, id string) scope {
	id = printable(id)
	s.path += "[" + id + "]"
	s.subject += noun + " " + id + ": "
	s.key = ""
	return s
}

// item is the scope of an element that is nothing but its name.
func (s scope) item(name string) scope {
	name = printable(name)
	s.path += "[" + name + "]"
	s.key += " " + name
	return s
}

func (s scope) add(kind ChangeKind, old, next string) {
	*s.to = append(*s.to, Change{
		Path: s.path, Kind: kind, Old: old, New: next, Restart: s.restart,
		subject: strings.TrimSuffix(s.subject+s.key, ": "),
	})
}

// change tells of a value that is not what it was.
func (s scope) change(old, next string) {
	if old != next {
		s.add(Changed, old, next)
	}
}

// secret tells of a secret, never what it is.
func (s scope) secret(old, next string) {
	switch {
	case old == next:
	case old == "":
		s.add(Added, "", "")
	case next == "":
		s.add(Removed, "", "")
	default:
		s.add(Changed, "", "")
	}
}
