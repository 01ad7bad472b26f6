package main

// A reload: read, check, compile, publish; or refuse whole and keep the plan.

import (
	"context"
	"errors"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/router"
)

// plan is a configuration that was compiled, and since when it is in force.
type plan struct {
	cfg        *configs.Config
	generation uint64
	since      time.Time
}

// reload reads the file again and puts it into force, or says what is wrong
// with it and changes nothing. Calls take turns.
func (a *app) reload(context.Context) (admin.Reloaded, error) {
	if a.file == "" {
		return admin.Reloaded{}, admin.ErrNoFile
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.notify("RELOADING=1")
	defer a.notify("READY=1")
	done, err := a.reloadLocked()
	a.lastReload.Store(&admin.LastReload{At: time.Now(), Error: errorText(err)})
	a.metrics.Reload(err == nil, time.Now())
	if err != nil {
		a.log.Error("the configuration was not reloaded; the one in force stays", "file", a.file, "error", err)
		return done, err
	}
	a.log.Info("configuration in force", "generation", done.Generation, "changes", len(done.Changes))
	for _, c := range done.Changes {
		if c.Restart {
			a.log.Warn("this change waits for a restart", "change", c.String())
		}
	}
	return done, nil
}

func (a *app) reloadLocked() (admin.Reloaded, error) {
	old := a.plan.Load()
	report := configs.Inspect(a.file)
	if a.watcher != nil {
		a.watcher.SetPaths(report.Files) // also of a file that is wrong: what it lacks may come
	}
	if len(report.Problems) > 0 {
		return admin.Reloaded{}, report.Problems
	}
	next := report.Config
	a.flags.apply(next)
	if err := keepGenerated(old.cfg, next); err != nil {
		return admin.Reloaded{}, err
	}
	changes := configs.Diff(old.cfg, next)
	generation := old.generation + 1
	if err := a.enforce(next, generation); err != nil {
		return admin.Reloaded{}, err
	}
	return admin.Reloaded{Generation: generation, Changes: changes}, nil
}

// enforce compiles cfg and makes it the plan, whole or not at all.
func (a *app) enforce(cfg *configs.Config, generation uint64) error {
	certs, err := loadCertificates(cfg.Server.TLS)
	if err != nil {
		return err
	}
	access, err := a.openAccess(cfg)
	if err != nil {
		return err
	}
	snapshot, err := router.Compile(cfg, router.World{Fleet: a.fleet, Metrics: a.metrics, Sim: a.engine}, generation)
	if err != nil {
		access.discard()
		return err
	}
	if a.admin != nil {
		if err := a.admin.SetToken(cfg.Server.AdminToken); err != nil {
			access.discard()
			return err
		}
	}
	access.adopt(a)
	a.certs.Store(certs)
	a.level.Set(levelOf(cfg.Log.Level))
	a.edge.Publish(snapshot)
	snapshot.Retire(a.fleet)
	a.plan.Store(&plan{cfg: cfg, generation: generation, since: time.Now()})
	return nil
}

// keepGenerated gives the keys that are made at each start the hashes of this
// start, and makes those that are new.
func keepGenerated(old, next *configs.Config) error {
	type name struct{ tenant, key string }
	hashes := map[name]string{}
	for _, t := range old.Tenants {
		for _, k := range t.Keys {
			if k.Generate {
				hashes[name{t.Name, k.Name}] = k.Hash
			}
		}
	}
	for i := range next.Tenants {
		t := &next.Tenants[i]
		for j := range t.Keys {
			if !t.Keys[j].Generate {
				continue
			}
			hash, ok := hashes[name{t.Name, t.Keys[j].Name}]
			if !ok {
				return errors.New("cannot reload tenant " + t.Name + ": key " + t.Keys[j].Name + " is to be generated, which happens at a start only")
			}
			t.Keys[j].Hash = hash
		}
	}
	return nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
