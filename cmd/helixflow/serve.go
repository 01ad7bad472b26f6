package main

// helixflow serve: the router itself.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/helixflow/helixflow/configs"
)

// ServeCmd is "helixflow serve".
type ServeCmd struct {
	Config   string `short:"c" placeholder:"FILE" help:"Configuration file."`
	Backend  string `placeholder:"URL" help:"Front this one engine without a file: every model it lists, on loopback, with a generated key."`
	Listen   string `placeholder:"ADDR" help:"Address for clients, instead of the configuration's."`
	Admin    string `placeholder:"ADDR" help:"Address for health and metrics, instead of the configuration's."`
	Takeover bool   `help:"Take the listeners from the process behind server.handover, which then drains."`
}

// Run serves until the process is asked to stop, then drains.
func (c *ServeCmd) Run(env *Env) error {
	cfg, err := c.load(env)
	if err != nil {
		return err
	}
	keys, err := generateKeys(cfg)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(levelOf(cfg.Log.Level))
	a, err := newApp(cfg, *c, newLog(level, env.Stderr), level)
	if err != nil {
		return err
	}
	if err := a.start(); err != nil {
		a.close()
		return err
	}
	if err := announce(env.Stdout, a, cfg, keys); err != nil {
		a.log.Warn("cannot print the base URL", "error", err)
	}
	return a.wait(env.Ctx)
}

// load reads the configuration the flags name.
func (c *ServeCmd) load(env *Env) (*configs.Config, error) {
	var cfg *configs.Config
	var err error
	switch {
	case (c.Config == "") == (c.Backend == ""):
		return nil, &usageError{"serve needs either -c FILE or --backend URL"}
	case c.Config != "":
		cfg, err = configs.Load(c.Config)
	default:
		cfg, err = configs.Parse("--backend", oneBackend(c.Backend), nil, nil)
	}
	var problems configs.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(env.Stderr, p)
		}
		return nil, errReported
	}
	if err != nil {
		return nil, err
	}
	c.override(cfg)
	return cfg, nil
}

// override puts what the command line says in the place of what the file says.
func (c *ServeCmd) override(cfg *configs.Config) {
	if c.Listen != "" {
		cfg.Server.Listen = c.Listen
	}
	if c.Admin != "" {
		cfg.Server.Admin = c.Admin
	}
}

// oneBackend is the configuration of --backend.
func oneBackend(url string) []byte {
	quoted, _ := json.Marshal(url) // a JSON string is a YAML string
	return fmt.Appendf(nil, `server: {listen: "127.0.0.1:8080"}
tenants: [{name: local, keys: [{name: local, generate: true}]}]
pools: [{name: backend, backends: [{url: %s}]}]
models: [{name: "*", targets: [{pool: backend}]}]
`, quoted)
}

// levelOf is a level as the configuration names it.
func levelOf(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// newLog is the operational log: text for a person, JSON for a collector.
func newLog(level slog.Leveler, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, o))
		}
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// announce prints what a newcomer needs to go on, at once: the base URL, and for
// each generated key the key and a request to paste.
func announce(w io.Writer, a *app, cfg *configs.Config, keys []generatedKey) error {
	url := a.baseURL()
	text := fmt.Appendf(nil, "HelixFlow serves %s\n", url)
	model := "MODEL"
	for _, m := range cfg.Models {
		if m.Name != "*" {
			model = m.Name
			break
		}
	}
	for _, k := range keys {
		text = fmt.Appendf(text, `
key %s/%s, fresh at each start:
  %s

try it:
  curl %s/chat/completions -H "Authorization: Bearer %s" -H "Content-Type: application/json" -d '{"model":"%s","messages":[{"role":"user","content":"Hello"}]}'
`, k.tenant, k.name, k.key.Reveal(), url, k.key.Reveal(), model)
	}
	_, err := w.Write(text)
	return err
}

// reachable is addr as a client on this machine writes it.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}
