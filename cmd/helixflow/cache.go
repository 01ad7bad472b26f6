package main

// helixflow cache: what a router that serves keeps of answers, and forgetting it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/helixflow/helixflow/cache"
)

const (
	cacheTimeout   = 30 * time.Second // a purge looks at all that is there
	maxCacheAnswer = 1 << 20
)

// CacheCmd is "helixflow cache".
type CacheCmd struct {
	Stats CacheStatsCmd `cmd:"" help:"Say what is kept, and how much memory it takes."`
	Purge CachePurgeCmd `cmd:"" help:"Forget answers: all of them, or those of a tenant, a model or a key."`
}

// CacheStatsCmd is "helixflow cache stats".
type CacheStatsCmd struct {
	Admin string `default:"127.0.0.1:9090" placeholder:"URL" help:"The router's admin address."`
	Token string `env:"HELIXFLOW_ADMIN_TOKEN" help:"Token of the admin address."`
	JSON  bool   `help:"Print JSON for scripts."`
}

// Run prints the figures of a router's cache.
func (c *CacheStatsCmd) Run(env *Env) error {
	var got struct{ Cache *cache.Stats }
	if err := askCache(env.Ctx, http.MethodGet, c.Admin, c.Token, "/-/cache", nil, &got); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.Stdout, got.Cache)
	}
	if got.Cache == nil {
		_, err := fmt.Fprintln(env.Stdout, "No model has a cache.")
		return err
	}
	s := got.Cache
	_, err := fmt.Fprintf(env.Stdout, "answers  %d\nbytes    %d of %d\nevicted  %d\nrefused  %d\n", s.Answers, s.Bytes, s.Limit, s.Evicted, s.Refused)
	return err
}

// CachePurgeCmd is "helixflow cache purge".
type CachePurgeCmd struct {
	Admin  string `default:"127.0.0.1:9090" placeholder:"URL" help:"The router's admin address."`
	Token  string `env:"HELIXFLOW_ADMIN_TOKEN" help:"Token of the admin address."`
	All    bool   `help:"Forget every answer."`
	Tenant string `placeholder:"NAME" help:"Forget those to the requests of this tenant."`
	Model  string `placeholder:"NAME" help:"Forget those of this model, by its own name."`
	Key    string `placeholder:"DIGEST" help:"Forget the one with this key, as x-helixflow-decision shows it."`
	JSON   bool   `help:"Print JSON for scripts."`
}

// Run has a router forget answers.
func (c *CachePurgeCmd) Run(env *Env) error {
	query := url.Values{}
	for name, value := range map[string]string{"tenant": c.Tenant, "model": c.Model, "key": c.Key} {
		if value != "" {
			query.Set(name, value)
		}
	}
	switch {
	case c.All && len(query) > 0:
		return &usageError{"--all forgets everything: it excludes --tenant, --model and --key"}
	case c.All:
		query.Set("all", "true")
	case len(query) == 0:
		return &usageError{"cache purge needs --all, --tenant, --model or --key"}
	}
	var got struct{ Deleted int }
	if err := askCache(env.Ctx, http.MethodPost, c.Admin, c.Token, "/-/cache/purge", query, &got); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.Stdout, map[string]int{"deleted": got.Deleted})
	}
	_, err := fmt.Fprintf(env.Stdout, "%d answers forgotten.\n", got.Deleted)
	return err
}

// askCache asks the admin address and reads the JSON that it answers.
func askCache(ctx context.Context, method, admin, token, path string, query url.Values, to any) error {
	base := admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return &usageError{"--admin is an address like http://127.0.0.1:9090"}
	}
	u = u.JoinPath(path)
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return fmt.Errorf("cannot ask the router: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot ask the router: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxCacheAnswer))
	if err != nil {
		return fmt.Errorf("cannot read the router's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var refused struct{ Error struct{ Message string } }
		_ = json.Unmarshal(text, &refused) // what is no JSON has no message
		return fmt.Errorf("the router refuses (%s): %s", resp.Status, refused.Error.Message)
	}
	if json.Unmarshal(text, to) != nil {
		return errors.New("cannot understand the router's answer; is it an admin address?")
	}
	return nil
}
