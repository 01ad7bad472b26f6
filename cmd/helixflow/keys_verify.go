package main

// helixflow keys verify: whether a configuration lets a key in, and to what.

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/router"
)

// KeysVerifyCmd is "helixflow keys verify". A key that is refused is a problem
// found. It asks no router, and prints nothing of the key but its id.
type KeysVerifyCmd struct {
	Key    string `arg:"" optional:"" help:"The key. Without one it is read from standard input, where no other user of the machine sees it."`
	Config string `short:"c" required:"" placeholder:"FILE" help:"Configuration to hold it against, with its key files."`
	JSON   bool   `help:"Print JSON for scripts."`
}

// verdict is what the configuration thinks of a key.
type verdict struct {
	Valid  bool   `json:"valid"`
	Reason string `json:"reason"` // as helixflow_auth_failures_total has it; accepted
	ID     string `json:"id,omitempty"`

	// Whose the id is, where the configuration knows it.
	Tenant    string    `json:"tenant,omitempty"`
	Name      string    `json:"name,omitempty"`
	Expires   time.Time `json:"expires,omitzero"` // or was revoked
	Models    []string  `json:"models,omitempty"`
	KeyModels []string  `json:"key_models,omitempty"`
	Endpoints []string  `json:"endpoints,omitempty"`
	From      []string  `json:"from,omitempty"`
	Debug     bool      `json:"debug,omitempty"`
}

// Run prints the verdict.
func (c *KeysVerifyCmd) Run(env *Env) error {
	key, err := argumentOrStdin(c.Key, env)
	if err != nil {
		return err
	}
	ring, err := keyringOf(c.Config)
	var problems configs.Problems
	if errors.As(err, &problems) {
		fmt.Fprintln(env.Stderr, problems)
		return errReported
	}
	if err != nil {
		return err
	}
	v := verify(ring, key, time.Now())
	if c.JSON {
		err = printJSON(env.Stdout, v)
	} else {
		err = v.print(env.Stdout)
	}
	if err == nil && !v.Valid {
		return errReported
	}
	return err
}

// keyringOf is the keyring of a configuration file.
func keyringOf(file string) (*authn.Keyring, error) {
	cfg, err := configs.Load(file)
	if err != nil {
		return nil, err
	}
	if _, err := generateKeys(cfg); err != nil {
		return nil, err
	}
	return router.CompileKeys(cfg)
}

func verify(ring *authn.Keyring, key string, now time.Time) verdict {
	who, reason := ring.Authenticate([]byte(key), now)
	v := verdict{Valid: who != nil, Reason: reason.String()}
	info, err := authn.Inspect(key)
	if err != nil {
		return v
	}
	v.ID = info.ID
	p := ring.ByID(info.ID)
	if p == nil || !info.ChecksumOK {
		return v
	}
	v.Tenant, v.Name, v.Expires, v.Debug = p.Tenant, p.KeyName, p.Expires().UTC(), p.Debug
	if p.Expires().IsZero() {
		v.Expires = time.Time{}
	}
	v.Models, v.KeyModels, v.Endpoints = p.Models, p.KeyModels, p.Endpoints.Names()
	if p.From != nil {
		for _, prefix := range p.From.Prefixes {
			v.From = append(v.From, prefix.String())
		}
	}
	return v
}

// whyNot are the reasons in words.
var whyNot = map[string]string{
	"malformed":     "it is not of the form of a key",
	"checksum":      "its checksum is wrong: a character was mistyped or lost",
	"unknown_key":   "the configuration has no key of its id",
	"wrong_secret":  "its id is known, with another secret",
	"not_yet_valid": "its time has not come",
	"expired":       "it has expired",
	"revoked":       "it was revoked",
}

func (v *verdict) print(w io.Writer) error {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s%s\n", name, printable(text))
		}
	}
	valid := "yes"
	if !v.Valid {
		valid = "no: " + whyNot[v.Reason]
	}
	line("valid", valid)
	line("id", v.ID)
	line("tenant", v.Tenant)
	line("key", v.Name)
	if !v.Expires.IsZero() && v.Expires.Unix() != 0 {
		line("until", v.Expires.Format(time.RFC3339))
	}
	if v.Tenant != "" {
		line("models", orAll(v.Models))
		line("of these", strings.Join(v.KeyModels, ", "))
		line("endpoints", orAll(v.Endpoints))
		line("from", strings.Join(v.From, ", "))
	}
	if v.Debug {
		line("debug", "may ask how it was routed")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orAll(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ", ")
}
