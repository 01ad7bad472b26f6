package admin

// What the server is told about the router, and what it may ask of it.

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/secret"
)

// Deps connects the server to the router. All fields but Token are required;
// all of them are called from several goroutines at once, and may take locks.
type Deps struct {
	Readiness Readiness
	Backends  Backends
	// Status returns what the status page shows besides backends and readiness.
	Status func() Status
	// Config returns the effective configuration, a struct of any shape: field
	// names become snake_case, and what could be a secret is masked here.
	Config func() any
	// Limits returns every scope that has limits with what is left of them, as a
	// value that JSON can show and that holds no secret.
	Limits func() any
	// Sharing returns how limits are shared with other routers, likewise; nil
	// where they are not.
	Sharing func() any
	// Cache returns the figures of the cache of answers as a value that JSON can
	// show; nil where there is none. PurgeCache forgets answers, and returns how many
	// it found in this process; an error is that other replicas could not be told.
	Cache      func() any
	PurgeCache func(CacheSelection) (deleted int, err error)
	// Reload reads the configuration again, and returns once it is in force or
	// refused: with configs.Problems when the file is wrong, with ErrNoFile when
	// there is none. Concurrent calls must be in turn. ctx does not end because
	// the asker left.
	Reload func(ctx context.Context) (Reloaded, error)
	// Explain says where a request would go, as a value that JSON can show and
	// that holds no secret. The error is for a question that makes no sense; it
	// is shown to the asker.
	Explain func(Question) (any, error)
	// Drain begins what SIGTERM begins, and returns at once. Doing it again does
	// nothing.
	Drain        func()
	WriteMetrics func(io.Writer) // Prometheus' text format
	Token        secret.Text     // at least 32 visible ASCII characters; empty: loopback only
	Log          *slog.Logger
}

// Readiness says whether the router wants traffic.
type Readiness interface {
	// Ready returns whether to send traffic here, and the word for why:
	// "ready", "starting", "draining" or "overloaded".
	Ready() (ready bool, state string)
}

// Backends is the fleet as an operator sees it.
type Backends interface {
	// List returns every backend, pools together. One of the same pool and URL
	// may be there twice while a reload's old one drains.
	List() []Backend
	// Discovery returns how the pools stand that find backends.
	Discovery() []Discovery
	// Drain sends a backend nothing new until Undrain; what runs there goes on.
	// Both return ErrNoBackend when there is none, and do nothing when it is as
	// wanted already.
	Drain(pool, url string) error
	Undrain(pool, url string) error
}

var (
	// ErrNoBackend says that a pool has no backend of that URL.
	ErrNoBackend = errors.New("no such backend")
	// ErrNoFile says that the router runs without a configuration file.
	ErrNoFile = errors.New("the router runs without a configuration file, there is nothing to reload")
)

// State is what the router makes of a backend.
type State string

// The states of a backend. Another word is shown as it is.
const (
	StateHealthy   State = "healthy"
	StateSlowStart State = "slow_start" // back, and given more each second
	StateProbing   State = "half_open"  // out, but for one probe at a time
	StateUnhealthy State = "unhealthy"  // its health checks fail
	StateEjected   State = "ejected"    // requests to it failed
	StateDraining  State = "draining"   // an operator, or a reload that dropped it
)

// usable reports whether new requests go there.
func (s State) usable() bool { return s == StateHealthy || s == StateSlowStart }

// Backend is one backend at one moment.
type Backend struct {
	Pool            string    `json:"pool"`
	URL             string    `json:"url"` // as in the configuration
	State           State     `json:"state"`
	Reason          string    `json:"reason,omitempty"`  // why it is in this state, in words
	Warning         string    `json:"warning,omitempty"` // what is odd although it serves
	Since           time.Time `json:"since,omitzero"`    // when it came into this state
	BackAt          time.Time `json:"back_at,omitzero"`  // when it may take requests again, where that is known
	InFlight        int       `json:"in_flight"`
	MaxInFlight     int       `json:"max_inflight"`                // 0: no bound
	Limit           int       `json:"concurrency_limit,omitempty"` // likewise, as its answers have shown; 0: they have not
	Weight          int       `json:"weight"`
	Ejections       uint64    `json:"ejections"` // since the start
	LastError       string    `json:"last_error,omitempty"`
	LastErrorAt     time.Time `json:"last_error_at,omitzero"`
	CertificateEnds time.Time `json:"certificate_ends,omitzero"`
	Signals         *Signals  `json:"signals,omitempty"` // nil: its engine is not asked
}

// Discovery is how a pool stands that finds backends.
type Discovery struct {
	Pool     string    `json:"pool"`
	Source   string    `json:"source"` // dns NAME, or file PATH
	Found    int       `json:"found"`
	LastGood time.Time `json:"last_good,omitzero"`
	Error    string    `json:"error,omitempty"` // why the latest answer is not in use
}

// Signals is what a backend's engine tells of itself.
type Signals struct {
	Engine        string             `json:"engine,omitempty"`  // whose names are read
	Problem       string             `json:"problem,omitempty"` // why its metrics are not read
	Known         map[string]float64 `json:"known"`
	Missing       map[string]string  `json:"missing,omitempty"` // what it should tell and does not, and why
	Restarts      uint32             `json:"restarts"`
	Models        []string           `json:"models,omitempty"`           // that it lists, up to 100
	Loaded        []string           `json:"loaded_models,omitempty"`    // of them, in memory, where that is known
	ModelsProblem string             `json:"models_problem,omitempty"`   // why its list is not read
	Adapters      []string           `json:"loaded_adapters,omitempty"`  // LoRA adapters in memory, as far as can be told, up to 100
	Awaited       []string           `json:"awaited_adapters,omitempty"` // those that requests wait for
}

// Status is the router at one moment.
type Status struct {
	Version build.Version
	Started time.Time
	Config  ConfigStatus

	Pressure Pressure // zero while there is none

	Models []Model // by name
	Errors []Event // the latest first; as many as are worth showing
}

// Pressure is how short the process is of what it needs.
type Pressure struct {
	Level    string `json:"level"` // trim, lean, shed, refuse
	Resource string `json:"resource"`
	Used     uint64 `json:"used"`
	Limit    uint64 `json:"limit"`
}

// ConfigStatus is which configuration is in force.
type ConfigStatus struct {
	File       string     `json:"file,omitempty"` // empty: made from flags
	Generation uint64     `json:"generation"`
	Loaded     time.Time  `json:"loaded,omitzero"` // when this generation came into force
	LastReload LastReload `json:"last_reload,omitzero"`
}

// LastReload is the latest try, whoever asked for it; zero when there was none.
type LastReload struct {
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"` // empty when it worked
}

// Model is what was counted for a public model name since the start.
type Model struct {
	Name         string `json:"name"`
	Requests     uint64 `json:"requests"`
	Failed       uint64 `json:"failed"` // of those, answered 5xx
	InputTokens  uint64 `json:"input_tokens"`
	OutputTokens uint64 `json:"output_tokens"`
}

// Event is an error worth an operator's look; equal ones are one event.
type Event struct {
	At     time.Time `json:"at"` // the latest time
	Source string    `json:"source"`
	Text   string    `json:"text"`
	Count  int       `json:"count"`
}

// Reloaded is what a reload did.
type Reloaded struct {
	Generation uint64           `json:"generation"`
	Changes    []configs.Change `json:"changes"` // empty when the file says the same
}
