package main

// helixflow explain: where a request would go, and why; from a file, or asked of
// a router that serves.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router"
	"github.com/helixflow/helixflow/router/admission"
)

const (
	explainTimeout   = 10 * time.Second
	maxExplainBody   = 64 << 20 // of --body; a router may take less
	maxExplainAnswer = 8 << 20
)

// ExplainCmd is "helixflow explain". A request that would be refused is a
// problem found. Keys are never sent and never printed.
type ExplainCmd struct {
	Config  string `short:"c" placeholder:"FILE" help:"Explain what this configuration would do; starts nothing and asks no backend."`
	Admin   string `placeholder:"URL" help:"Ask the router with this admin address, which knows the state of its backends."`
	Token   string `env:"HELIXFLOW_ADMIN_TOKEN" help:"Token of the admin address."`
	Model   string `placeholder:"NAME" help:"Model asked for; may be missing where the body names one."`
	Path    string `placeholder:"PATH" help:"Path of a request that no model decides, instead of a model."`
	Method  string `placeholder:"METHOD" help:"Method of --path; GET when left out."`
	Key     string `help:"API key of who asks, with -c only; - reads it from standard input, where no other user of the machine sees it."`
	Tenant  string `placeholder:"NAME" help:"Who asks, by name instead of by key."`
	KeyName string `placeholder:"NAME" help:"Which of the tenant's keys."`
	Body    string `placeholder:"FILE" help:"Body of the request, as JSON; - is standard input. Without one, a body that names the model alone."`
	JSON    bool   `help:"Print JSON for scripts."`
}

// Run prints the explanation.
func (c *ExplainCmd) Run(env *Env) error {
	if err := c.check(); err != nil {
		return err
	}
	q := router.Question{Model: c.Model, Path: c.Path, Method: c.Method, Tenant: c.Tenant, Key: c.KeyName}
	var err error
	if q.Body, err = c.readBody(env); err != nil {
		return err
	}
	var x *router.Explanation
	if c.Config != "" {
		x, err = c.offline(env, q)
	} else {
		x, err = c.ask(env.Ctx, &q)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(env.Stdout, x)
	} else {
		_, err = io.WriteString(env.Stdout, printable(report(x)))
	}
	if err == nil && x.Refusal != nil {
		return errReported
	}
	return err
}

// check refuses flags that make no sense together.
func (c *ExplainCmd) check() error {
	wrong := ""
	switch {
	case (c.Config == "") == (c.Admin == ""):
		wrong = "explain needs either -c FILE or --admin URL"
	case c.Path != "" && c.Model+c.Body != "":
		wrong = "--path is of a request that no model decides: use it or --model and --body"
	case c.Method != "" && c.Path == "":
		wrong = "--method needs --path"
	case c.Model == "" && c.Body == "" && c.Path == "":
		wrong = "explain needs --model NAME, --body FILE that names one, or --path PATH"
	case c.Admin != "" && c.Key != "":
		wrong = "a key is not sent to be explained: use --tenant and --key-name with --admin"
	case c.Key != "" && c.Tenant+c.KeyName != "":
		wrong = "--key says who asks, and so do --tenant and --key-name: use one of them"
	case c.KeyName != "" && c.Tenant == "":
		wrong = "--key-name needs --tenant"
	case c.Key == "-" && c.Body == "-":
		wrong = "standard input can be the key or the body, not both"
	}
	if wrong != "" {
		return &usageError{wrong}
	}
	return nil
}

func (c *ExplainCmd) readBody(env *Env) (body []byte, err error) {
	from := env.Stdin
	switch c.Body {
	case "":
		return nil, nil
	case "-":
	default:
		f, err := os.Open(c.Body)
		if err != nil {
			return nil, fmt.Errorf("cannot read the body: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	body, err = io.ReadAll(io.LimitReader(from, maxExplainBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the body: %w", err)
	case len(body) > maxExplainBody:
		return nil, fmt.Errorf("cannot explain a body of more than %d bytes", maxExplainBody)
	case len(body) == 0:
		return nil, errors.New("cannot explain an empty body")
	}
	return body, nil
}

// offline compiles the file into a plan that nothing serves: no listener, no
// engine, and no check of a backend, since the fleet is not told to retain any.
func (c *ExplainCmd) offline(env *Env, q router.Question) (*router.Explanation, error) {
	if c.Key != "" {
		key, err := argumentOrStdin(c.Key, env)
		if err != nil {
			return nil, err
		}
		q.Credential = secret.New(key)
	}
	cfg, err := configs.Load(c.Config)
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
	if _, err := generateKeys(cfg); err != nil {
		return nil, err
	}
	metrics := metric.New()
	fleet := backends.NewFleet(metrics)
	defer fleet.Close()
	var keySets *authn.KeySets // only for a token the keys of its issuer are fetched
	if authn.IsToken([]byte(q.Credential.Reveal())) {
		keySets = authn.NewKeySets(slog.New(slog.DiscardHandler))
		defer keySets.Close()
	}
	snapshot, err := router.Compile(cfg, router.World{
		Fleet: fleet, Metrics: metrics, Fallbacks: new(router.Fallbacks), Limits: new(admission.Book), Lots: new(router.Lots),
		KeySets: keySets,
		Sim:     func(string) (string, error) { return "http://127.0.0.1:9", nil }, // never asked
	}, 0)
	if err != nil {
		return nil, err
	}
	snapshot.Retain(fleet)
	q.Now = time.Now() // not before the fleet began
	x, err := snapshot.Explain(q)
	return &x, err
}

// ask has a router that serves explain. It goes through no proxy and follows no
// redirect: the token is for that address alone.
func (c *ExplainCmd) ask(ctx context.Context, q *router.Question) (*router.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	req, err := c.request(ctx, q)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the router: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxExplainAnswer))
	if err != nil {
		return nil, fmt.Errorf("cannot read the router's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var refused struct {
			Error struct{ Message string }
		}
		_ = json.Unmarshal(text, &refused) // what is no JSON has no message
		return nil, fmt.Errorf("the router refuses to explain (%s): %s", resp.Status, refused.Error.Message)
	}
	x := new(router.Explanation)
	err = json.Unmarshal(text, x)
	if err == nil && x.Route == nil && x.Refusal == nil {
		err = errors.New("it explains nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot understand the router's answer; is it an admin address? %w", err)
	}
	return x, nil
}

func (c *ExplainCmd) request(ctx context.Context, q *router.Question) (*http.Request, error) {
	base := c.Admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, &usageError{"--admin is an address like http://127.0.0.1:9090"}
	}
	u = u.JoinPath("/-/explain")
	query := url.Values{}
	for name, value := range map[string]string{"model": q.Model, "path": q.Path, "method": q.Method, "tenant": q.Tenant, "key": q.Key} {
		if value != "" {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	method := http.MethodGet
	if q.Body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(q.Body))
	if err != nil {
		return nil, fmt.Errorf("cannot ask the router: %w", err)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return req, nil
}

// explain answers the admin API from the plan in force.
func (a *app) explain(q admin.Question) (any, error) {
	return a.edge.Explain(router.Question{Model: q.Model, Path: q.Path, Method: q.Method, Tenant: q.Tenant, Key: q.Key, Body: q.Body, Now: time.Now()})
}
