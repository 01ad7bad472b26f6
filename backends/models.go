package backends

// Which models a backend serves, and which of them it has in memory.

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	listEvery = 10 * time.Second
	listStale = 35 * time.Second // three in a row failed: it is not known any more
	listBytes = 1 << 20
)

// ModelLists says which lists a backend is asked for.
type ModelLists struct {
	Served bool // /v1/models: what is not there is not asked for
	Loaded bool // Ollama's /api/ps: what is not there has to be loaded first
	Ollama bool // names without a tag mean :latest, and case does not matter
}

// modelList is what a backend told of its models. Immutable.
type modelList struct {
	at     time.Time
	served map[string]bool // and whether it is loaded
	loaded bool            // that is known
}

var (
	errListLong = errors.New("the list of its models is longer than 1 MiB")
	errListForm = errors.New("the list of its models is not understood")
)

// readLists reads the lists once. One that fails leaves what was known to grow
// old.
func (w *watcher) readLists() {
	if w.now.Props {
		w.readProps()
	}
	if !w.now.Models.Served && !w.now.Models.Loaded {
		return
	}
	next := &modelList{served: map[string]bool{}, loaded: w.now.Models.Loaded}
	err := w.list("/v1/models", func(body []byte) error {
		var page struct{ Data []struct{ ID string } }
		if json.Unmarshal(body, &page) != nil || page.Data == nil {
			return errListForm
		}
		for _, m := range page.Data {
			next.served[w.now.Models.name(m.ID)] = false
		}
		return nil
	})
	if err == nil && w.now.Models.Loaded {
		err = w.list("/api/ps", func(body []byte) error {
			var page struct {
				Models []struct{ Name, Model string }
			}
			if json.Unmarshal(body, &page) != nil || page.Models == nil {
				return errListForm
			}
			for _, m := range page.Models {
				next.served[w.now.Models.name(m.Name)] = true
			}
			return nil
		})
	}
	if w.ctx.Err() != nil {
		return
	}
	if err != nil {
		w.listProblem.Store(&err)
		return
	}
	next.at = time.Now()
	w.listProblem.Store(nil)
	w.models.Store(next)
	w.ep.pool.lists.Add(1)
}

// name is a model's name as lists are searched for it.
func (l ModelLists) name(name string) string {
	if l.Ollama {
		if name = strings.ToLower(name); !strings.Contains(name, ":") {
			name += ":latest"
		}
	}
	return name
}

// readProps reads how much a llama.cpp can do at once, which its metrics do not
// tell.
func (w *watcher) readProps() {
	_ = w.list("/props", func(body []byte) error {
		var props struct {
			Slots    int32 `json:"total_slots"`
			Defaults struct {
				Context int64 `json:"n_ctx"`
			} `json:"default_generation_settings"`
		}
		const most = 1 << 30
		if json.Unmarshal(body, &props) != nil || props.Slots < 1 || props.Slots > most || props.Defaults.Context > most {
			return errListForm
		}
		w.ep.Signals.SetSlots(props.Slots)
		w.ep.Signals.SetKVTokens(int64(props.Slots) * props.Defaults.Context)
		return nil
	})
}

// list gets a small JSON document whole.
func (w *watcher) list(path string, read func(body []byte) error) error {
	var body []byte
	err := w.lists.do(w.lists.text("GET", path, w.now.Header.Reveal(), nil), watchTimeout, func(p []byte) error {
		if len(body)+len(p) > listBytes {
			return errListLong
		}
		body = append(body, p...)
		return nil
	})
	if err != nil {
		return errors.New("GET " + path + ": " + reasonOfErrand(err, watchTimeout))
	}
	return read(body)
}

func (w *watcher) forgetModels() {
	if w.models.Swap(nil) != nil {
		w.ep.pool.lists.Add(1)
	}
	w.listProblem.Store(nil)
}

// ask looks a model up. When the list is not known, or too old, it is served.
func (l *modelList) ask(model string, now time.Time) (served, cold bool) {
	if l == nil || now.Sub(l.at) > listStale {
		return true, false
	}
	loaded, served := l.served[model]
	return served, served && l.loaded && !loaded
}

// names returns up to n of the models, in order, those in memory first.
func (l *modelList) names(n int) (served, loaded []string) {
	for name, is := range l.served {
		served = append(served, name)
		if is {
			loaded = append(loaded, name)
		}
	}
	slices.Sort(served)
	slices.Sort(loaded)
	return served[:min(len(served), n)], loaded[:min(len(loaded), n)]
}
