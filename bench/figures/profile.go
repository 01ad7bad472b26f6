package main

// A profile of HelixFlow under the figures' loads, for the compiler.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/helixflow/helixflow/bench/load"
)

// profiled are the loads a profile is made of.
var profiled = []string{"unary 1 KiB", "unary 32 KiB", "1,000 streams", "cache hit"}

// profile writes what the router does under each of these loads into one file,
// which go build -pgo reads.
func (s *settings) profile(ctx context.Context, l *lab) error {
	var parts []string
	for _, f := range figures {
		for i, name := range profiled {
			if f.name != name {
				continue
			}
			part := filepath.Join(l.dir, fmt.Sprintf("profile%d", i))
			if err := f.profile(ctx, l, s.each, part); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			parts = append(parts, part)
		}
	}
	merged, err := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-proto"}, parts...)...).Output()
	if err != nil {
		return fmt.Errorf("cannot merge the profiles: %w", err)
	}
	if err := os.WriteFile(s.profileTo, merged, 0o644); err != nil {
		return fmt.Errorf("cannot write the profile: %w", err)
	}
	return nil
}

// profile asks the last of the figure's routers, and profiles it meanwhile.
func (f *figure) profile(ctx context.Context, l *lab, each time.Duration, to string) error {
	name := "everything"
	if f.name == "cache hit" {
		name = "cache"
	}
	t, err := l.get(ctx, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	o := f.options
	o.URL, o.Key, o.Model, o.Duration = t.url, t.key, model, time.Hour
	ended := make(chan error, 1)
	go func() {
		r, err := load.Run(ctx, o)
		if err == nil && r.Requests() == 0 {
			err = errors.New("nothing was answered")
		}
		ended <- err
	}()
	err = fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", t.admin, max(int(each.Seconds()), 1)), to)
	cancel()
	return errors.Join(err, <-ended)
}

// fetch writes what is at url to a file.
func fetch(ctx context.Context, url, to string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("cannot ask for %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cannot fetch %s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("cannot fetch %s: %s", url, resp.Status)
	}
	file, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("cannot write the profile: %w", err)
	}
	if _, err := io.Copy(file, resp.Body); err != nil {
		_ = file.Close()
		return fmt.Errorf("cannot write the profile: %w", err)
	}
	return file.Close()
}
