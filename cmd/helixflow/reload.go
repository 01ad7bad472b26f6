package main

// A reload: read, check, compile, publish; or refuse whole and keep the plan.

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/router"
)

// plan is a configuration that was compiled, and since when it is in force.
type plan struct {
	cfg        *configs.Config
	full       *configs.Config // with the backends that were found
	generation uint64
	since      time.Time
}

// manyKeys is from how many on a keyring's memory is worth a collection at once.
const manyKeys = 100_000

// frugal is GOGC while such a keyring is made: the old one is there as well, and
// the garbage of what is read need not be as much as both.
const frugal = 25

// beFrugal lowers GOGC, and returns what it was.
func beFrugal() (before int) {
	before = debug.SetGCPercent(frugal)
	if before >= 0 && before < frugal {
		debug.SetGCPercent(before)
	}
	return before
}

// letGo gives back the memory of the keyring that was, or of one that was given up.
func (a *app) letGo() {
	if a.snapshot.Keys() >= manyKeys {
		debug.FreeOSMemory()
	}
}

// reload reads the file again and puts it into force, or says what is wrong
// with it and changes nothing. Calls take turns.
func (a *app) reload(context.Context) (admin.Reloaded, error) {
	if a.settings.Config == "" {
		return admin.Reloaded{}, admin.ErrNoFile
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.told(a.manager.Reloading())
	defer a.letGo()
	done, err := a.reloadLocked()
	now := time.Now()
	last := &admin.LastReload{At: now}
	if err != nil {
		last.Error = err.Error()
	}
	a.lastReload.Store(last)
	a.metrics.Reloaded(err == nil, now)
	a.told(a.manager.Ready("serving"))
	if err != nil {
		a.log.Error("the configuration was not reloaded; the one in force stays", "file", a.settings.Config, "error", err)
		return done, err
	}
	a.log.Info("configuration in force", "generation", done.Generation, "changes", len(done.Changes), "keys", a.snapshot.Keys())
	for _, c := range done.Changes {
		if c.Restart {
			a.log.Warn("this change waits for a restart", "change", c.String())
		}
	}
	return done, nil
}

func (a *app) reloadLocked() (admin.Reloaded, error) {
	old := a.plan.Load()
	report := configs.Inspect(a.settings.Config)
	if a.watcher != nil {
		a.watcher.SetPaths(report.Files) // also of a file that is wrong: what it lacks may come
	}
	if len(report.Problems) > 0 {
		return admin.Reloaded{}, report.Problems
	}
	next := report.Config
	a.settings.override(next)
	if err := keepGenerated(old.cfg, next); err != nil {
		return admin.Reloaded{}, err
	}
	changes := configs.Diff(old.cfg, next)
	generation := old.generation + 1
	if err := a.enforce(next, generation); err != nil {
		return admin.Reloaded{}, err
	}
	a.keySets.Refresh()
	return admin.Reloaded{Generation: generation, Changes: changes}, nil
}

// enforce compiles cfg and makes it the plan, whole or not at all: first all that
// can fail, then all that changes something.
func (a *app) enforce(cfg *configs.Config, generation uint64) error {
	a.discovery.adopt(cfg)
	full := a.discovery.into(cfg)
	next, err := a.prepare(full, generation)
	if err != nil {
		if p := a.plan.Load(); p != nil {
			a.discovery.retain(p.cfg)
		}
		if a.snapshot != nil {
			a.snapshot.Retain(a.fleet) // let go of what was adopted for nothing
			a.snapshot.RetainKeys(a.keySets)
		}
		return err
	}
	next.access.adopt(a)
	next.redis.adopt(a)
	a.certs.Store(next.certs)
	a.metrics.Certificate("clients", next.certs.end())
	a.level.Set(levelOf(cfg.Log.Level))
	a.edge.Publish(next.snapshot)
	next.snapshot.Retain(a.fleet)
	next.snapshot.RetainKeys(a.keySets)
	a.snapshot = next.snapshot
	a.setMemory(cfg.Server.Memory)
	a.metrics.Generation(generation)
	a.metrics.Keyring(next.snapshot.Keys())
	before := a.plan.Load()
	if before == nil {
		before = &plan{full: &configs.Config{}}
	}
	now := &plan{cfg: cfg, full: full, generation: generation, since: time.Now()}
	if generation == before.generation { // only what was found is new
		now.since = before.since
	}
	a.plan.Store(now)
	a.discovery.retain(cfg)
	a.logFound(before.full, full)
	return nil
}

// prepared is all of a plan that can fail, done.
type prepared struct {
	snapshot *router.Snapshot
	certs    *certificate
	access   accessChange
	redis    redisChange
}

func (a *app) prepare(cfg *configs.Config, generation uint64) (p prepared, err error) {
	if p.certs, err = loadCertificate(cfg.Server.TLS); err != nil {
		return p, err
	}
	world := router.World{Fleet: a.fleet, Metrics: a.metrics, Fallbacks: &a.fallbacks, Limits: &a.limits, Lots: &a.lots, Indexes: &a.indexes, KeySets: a.keySets, Sim: a.engine}
	if cfg.CountKeyLines() >= manyKeys {
		defer debug.SetGCPercent(beFrugal())
	}
	if p.snapshot, err = router.Compile(cfg, world, generation); err != nil {
		return p, err
	}
	if p.access, err = a.openAccess(cfg.Log); err != nil {
		return p, err
	}
	if p.redis, err = a.openRedis(cfg.Redis); err == nil {
		err = a.admin.SetToken(cfg.Server.AdminToken)
	}
	if err != nil {
		_ = p.access.next.Close()
		p.redis.drop()
	}
	return p, err
}

// accessChange is another access log, opened; the zero value is no change.
type accessChange struct {
	next    *accesslog.Log // nil for none
	changed bool
}

// openAccess opens the access log that l wants, unless it is the present one.
func (a *app) openAccess(l configs.Log) (accessChange, error) {
	if p := a.plan.Load(); p != nil && sameAccess(p.cfg.Log, l) {
		return accessChange{}, nil
	}
	if l.Access == "off" {
		return accessChange{changed: true}, nil
	}
	o := accesslog.Options{Sample: l.AccessSample.Float(), MaxSize: l.AccessMaxSize, Keep: l.AccessKeep, Hashes: l.AccessHashes, Log: a.log}
	next, err := accesslog.Open(l.Access, o)
	if err != nil {
		return accessChange{}, fmt.Errorf("cannot open the access log: %w", err)
	}
	return accessChange{next: next, changed: true}, nil
}

// adopt puts the log to use and closes the one before.
func (c accessChange) adopt(a *app) {
	if !c.changed {
		return
	}
	old := a.access
	a.access = c.next
	a.edge.SetAccess(c.next)
	a.metrics.AccessLog(accessCounts(c.next))
	if err := old.Close(); err != nil {
		a.log.Warn("cannot close the access log that was", "error", err)
	}
}

// accessCounts is what a scrape shows of the access log.
func accessCounts(l *accesslog.Log) func() (written, dropped, failures uint64) {
	if l == nil {
		return nil
	}
	return func() (written, dropped, failures uint64) {
		s := l.Stats()
		return s.Written, s.Dropped, s.Failures
	}
}

func sameAccess(a, b configs.Log) bool {
	return a.Access == b.Access && a.AccessSample == b.AccessSample && a.AccessMaxSize == b.AccessMaxSize && a.AccessKeep == b.AccessKeep &&
		a.AccessHashes == b.AccessHashes
}

// reopenAccess is for whoever has moved the file away.
func (a *app) reopenAccess() {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.access.Reopen()
}

// keepGenerated gives the keys that are made at each start the hashes of this
// start. One that is new has none yet.
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
				return fmt.Errorf("cannot reload: key %s of tenant %s is to be generated, which happens at a start only", t.Keys[j].Name, t.Name)
			}
			t.Keys[j].Hash = hash
		}
	}
	return nil
}
