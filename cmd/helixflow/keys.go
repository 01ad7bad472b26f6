package main

// helixflow keys: new, hash, inspect. keys_verify.go has the rest.

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
)

// KeysCmd is "helixflow keys", the offline side of API keys: the router keeps
// hashes, so that a key is made and shown here, once.
type KeysCmd struct {
	New     KeysNewCmd     `cmd:"" help:"Make a key, and the hash to configure for it."`
	Hash    KeysHashCmd    `cmd:"" help:"Print the hash to configure for a key."`
	Inspect KeysInspectCmd `cmd:"" help:"Say what can be read off a key, without its secret."`
	Verify  KeysVerifyCmd  `cmd:"" help:"Say whether a configuration lets a key in, and to what."`
}

// KeysNewCmd is "helixflow keys new".
type KeysNewCmd struct {
	Env    string `enum:"live,test" default:"live" help:"Environment the key says it is for: ${enum}."`
	ID     string `placeholder:"ID" help:"Another secret for the key with this id, instead of a key with a new one."`
	Tenant string `placeholder:"NAME" help:"Whose it is: print its line for a file of keys too."`
	Name   string `placeholder:"NAME" help:"The key's name, for logs and metrics."`
	Config string `short:"c" placeholder:"FILE" help:"Hash with the newest pepper of this configuration."`
	JSON   bool   `help:"Print JSON for scripts."`
}

// Run makes a key from the system's randomness and prints it with its hash.
func (c *KeysNewCmd) Run(env *Env) error {
	if c.Tenant != "" && c.Name == "" {
		return &usageError{"--tenant needs --name: a key has one in its tenant"}
	}
	pepper, err := newestPepper(c.Config)
	if err != nil {
		return err
	}
	key, err := c.make()
	if err != nil {
		return err
	}
	text := key.Text.Reveal() // its owner sees it here and nowhere else
	hash, err := authn.Hash(text, pepper)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.Stdout, struct {
			Key   string   `json:"key"`
			Hash  string   `json:"hash"`
			ID    string   `json:"id"`
			Entry *keyLine `json:"entry,omitempty"`
		}{text, hash, key.ID, c.entry(hash)})
	}
	name := c.Name
	if name == "" {
		name = "NAME"
	}
	_, err = fmt.Fprintf(env.Stdout, `key   %s
hash  %s
id    %s

Hand the key to its owner now: it is not kept and cannot be shown again.
Under the tenant's keys write:
  - {name: %s, hash: %q}
`, text, hash, key.ID, name, hash)
	if e := c.entry(hash); e != nil && err == nil {
		fmt.Fprint(env.Stdout, "or this line into one of auth.key_files:\n  ")
		err = printJSON(env.Stdout, e)
	}
	return err
}

// keyLine is a line of a key file.
type keyLine struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Hash   string `json:"hash"`
}

// entry is the key's line; nil where it is not said whose it is.
func (c *KeysNewCmd) entry(hash string) *keyLine {
	if c.Tenant == "" {
		return nil
	}
	return &keyLine{Tenant: c.Tenant, Name: c.Name, Hash: hash}
}

func (c *KeysNewCmd) make() (authn.Key, error) {
	if c.ID == "" {
		return authn.Generate(c.Env, rand.Reader)
	}
	return authn.GenerateFor(c.ID, c.Env, rand.Reader)
}

// KeysHashCmd is "helixflow keys hash".
type KeysHashCmd struct {
	Key    string `arg:"" optional:"" help:"The key. Without one it is read from standard input, where no other user of the machine sees it."`
	Config string `short:"c" placeholder:"FILE" help:"Hash with the newest pepper of this configuration."`
	JSON   bool   `help:"Print JSON for scripts."`
}

// Run prints the key's hash.
func (c *KeysHashCmd) Run(env *Env) error {
	pepper, err := newestPepper(c.Config)
	if err != nil {
		return err
	}
	key, err := argumentOrStdin(c.Key, env)
	if err != nil {
		return err
	}
	hash, err := authn.Hash(key, pepper)
	if err != nil {
		return err
	}
	if !c.JSON {
		_, err := fmt.Fprintln(env.Stdout, hash)
		return err
	}
	info, err := authn.Inspect(key)
	if err != nil {
		return err
	}
	return printJSON(env.Stdout, struct {
		Hash string `json:"hash"`
		ID   string `json:"id"`
	}{hash, info.ID})
}

// KeysInspectCmd is "helixflow keys inspect".
type KeysInspectCmd struct {
	Key  string `arg:"" optional:"" help:"The key. Without one it is read from standard input."`
	JSON bool   `help:"Print JSON for scripts."`
}

// Run prints what the key says of itself. A wrong checksum is a problem found.
func (c *KeysInspectCmd) Run(env *Env) error {
	key, err := argumentOrStdin(c.Key, env)
	if err != nil {
		return err
	}
	info, err := authn.Inspect(key)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(env.Stdout, struct {
			Env        string `json:"env"`
			ID         string `json:"id"`
			ChecksumOK bool   `json:"checksum_ok"`
		}{info.Env, info.ID, info.ChecksumOK})
	} else {
		checksum := "right"
		if !info.ChecksumOK {
			checksum = "wrong: a character was mistyped or lost"
		}
		_, err = fmt.Fprintf(env.Stdout, "env       %s\nid        %s\nchecksum  %s\n", info.Env, info.ID, checksum)
	}
	if err == nil && !info.ChecksumOK {
		return errReported
	}
	return err
}

// newestPepper returns the pepper with the highest version of a configuration,
// or nil when there is no file or no pepper in it.
func newestPepper(file string) (*authn.Pepper, error) {
	if file == "" {
		return nil, nil
	}
	config, err := configs.Load(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the peppers of %s:\n%w", file, err)
	}
	var newest *authn.Pepper
	for _, p := range config.Auth.Peppers {
		if newest == nil || p.Version > newest.Version {
			newest = &authn.Pepper{Version: p.Version, Secret: p.Secret}
		}
	}
	return newest, nil
}

// maxStdinKey is far more than a key with its newline.
const maxStdinKey = 1 << 10

// argumentOrStdin returns the argument, or what stands on standard input when
// there is none.
func argumentOrStdin(argument string, env *Env) (string, error) {
	if argument != "" && argument != "-" {
		return argument, nil
	}
	text, err := io.ReadAll(io.LimitReader(env.Stdin, maxStdinKey+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the key from standard input: %w", err)
	}
	if len(text) > maxStdinKey {
		return "", errors.New("cannot read the key from standard input: there is more than a key")
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", &usageError{"no key: give it as an argument or on standard input"}
	}
	return key, nil
}
