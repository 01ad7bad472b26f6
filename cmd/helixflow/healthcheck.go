package main

// helixflow healthcheck: what a container's HEALTHCHECK runs, in an image that
// has no curl.

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const healthTimeout = 2 * time.Second

// HealthcheckCmd is "helixflow healthcheck".
type HealthcheckCmd struct {
	Admin string `default:"127.0.0.1:9090" placeholder:"ADDR" help:"The router's admin address."`
}

// Run asks the router on this machine; a router that drains is healthy.
func (c *HealthcheckCmd) Run(env *Env) error {
	ctx, cancel := context.WithTimeout(env.Ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Admin+"/healthz", nil)
	if err != nil {
		return &usageError{fmt.Sprintf("cannot use the admin address %q", c.Admin)}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot ask for health: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", resp.Status)
	}
	return nil
}
