package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits, budgets and prices: what they mean, what they may hold, their keys.

// Limits bound what one scope may use: a key, a tenant, a model, a tenant's use
// of a model, or the whole router. nil is no limit, 0 lets nothing pass.
type Limits struct {
	RequestsPerMinute *int64
	TokensPerMinute   *int64 // prompt and answer together
	TokensPerDay      *int64 // flowing, not by calendar day
	Concurrent        *int64
	Burst             Burst
	Budget            Budget
	Reserve           string // expected (default) | strict: how much of an answer is reserved beforehand
	Shadow            bool   // refusals are counted, not made
}

// Burst is how much of a rate may come at once; nil is all of it.
type Burst struct{ Requests, Tokens *int64 }

// Budget is money for a period; without USD there is none.
type Budget struct {
	USD *Money
	Per string // day | month (default) | total; of UTC, total since the start of the process
}

// Money is in millionths of a US dollar.
type Money int64

// String is the amount as an operator writes it: 500, 0.25.
func (m Money) String() string {
	whole, part := int64(m)/1e6, int64(m)%1e6
	if part == 0 {
		return strconv.FormatInt(whole, 10)
	}
	return strconv.FormatInt(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%06d", part), "0")
}

// MarshalText is String, for encoders.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Price is what a model's tokens cost, per million of them.
type Price struct {
	Input, Output Money  // default 0
	CachedInput   *Money // default as Input
}

// ModelLimits are a tenant's limits on one model.
type ModelLimits struct {
	Model  string // a model's name, not an alias
	Limits Limits
}

const (
	maxAmount = 1 << 50
	maxMoney  = Money(1_000_000_000 * 1_000_000)
)

var (
	budgetPeriods = []string{"day", "month", "total"}
	reserveModes  = []string{"expected", "strict"}
)

func defaultLimits() Limits {
	return Limits{Budget: Budget{Per: "month"}, Reserve: "expected"}
}

func limitKeys(l *Limits) object {
	return object{
		{name: "requests_per_minute", value: amount{&l.RequestsPerMinute}, doc: "Requests in a minute; 0 lets none pass."},
		{name: "tokens_per_minute", value: amount{&l.TokensPerMinute}, doc: "Tokens in a minute, of prompts and answers together."},
		{name: "tokens_per_day", value: amount{&l.TokensPerDay}, doc: "Tokens in any 24 hours."},
		{name: "concurrent", value: amount{&l.Concurrent}, doc: "Requests at once, from their first byte to the answer's last."},
		{name: "burst", value: object{
			{name: "requests", value: amount{&l.Burst.Requests}, doc: "Requests that may come at once; as many as in a minute when absent."},
			{name: "tokens", value: amount{&l.Burst.Tokens}, doc: "Tokens that may be taken at once; as many as in a minute when absent."},
		}, doc: "How much of a minute's rate may come at once."},
		{name: "budget", value: object{
			{name: "usd", value: money{&l.Budget.USD}, doc: "US dollars, by the prices of the models."},
			{name: "per", value: choice{&l.Budget.Per, budgetPeriods}, doc: "Day and month are those of UTC; total is since the start of this process, or with redis for good."},
		}, doc: "Money for a period."},
		{name: "reserve", value: choice{&l.Reserve, reserveModes}, doc: "What is reserved for an answer whose length nobody knows: expected is what 95 of 100 stay below, strict the most that the request allows."},
		{name: "shadow", value: boolean{&l.Shadow}, doc: "Count what these limits would refuse, and refuse nothing."},
	}
}

func modelLimitsKeys(m *ModelLimits) object {
	return append(object{
		{name: "model", value: text{&m.Model}, doc: "A model's name.", required: true},
	}, limitKeys(&m.Limits)...)
}

func defaultModelLimits() ModelLimits { return ModelLimits{Limits: defaultLimits()} }

func modelLimitsID(m *ModelLimits) string { return m.Model }

func priceKeys(p *Price) object {
	cached := &p.CachedInput
	return object{
		{name: "input", value: price{&p.Input}, doc: "US dollars per million tokens of prompts."},
		{name: "cached_input", value: money{cached}, doc: "The same for those of them that the backend had cached; as input when absent."},
		{name: "output", value: price{&p.Output}, doc: "US dollars per million tokens of answers."},
	}
}

type (
	amount struct{ to **int64 } // a whole number, or nothing
	money  struct{ to **Money } // dollars, or nothing
	price  struct{ to *Money }  // dollars
)

func (v amount) decode(r *reader, n *node) {
	const want = "a whole number such as 600 or 200k"
	s, ok := r.textOr(numberNode, n, want)
	if !ok {
		return
	}
	i, ok := parseCount(s)
	if !ok {
		r.report(n.at, "%s is not %s", n.shown(), want)
		return
	}
	if r.within(n, i, 0, maxAmount, func(i int64) string { return strconv.FormatInt(i, 10) }) {
		*v.to = &i
	}
}

func (v money) decode(r *reader, n *node) {
	var m Money
	if decodeMoney(r, n, &m) {
		*v.to = &m
	}
}

func (v price) decode(r *reader, n *node) { decodeMoney(r, n, v.to) }

func decodeMoney(r *reader, n *node, to *Money) bool {
	const want = "US dollars such as 500 or 0.25"
	s, ok := r.textOr(numberNode, n, want)
	if !ok {
		return false
	}
	m, ok := parseMoney(s)
	if !ok {
		r.report(n.at, "%s is not %s", n.shown(), want)
		return false
	}
	if !r.within(n, int64(m), 0, int64(maxMoney), func(i int64) string { return Money(i).String() }) {
		return false
	}
	*to = m
	return true
}

// moneyDigits are the digits after the point that Money can hold.
const moneyDigits = 6

// parseMoney reads dollars with up to six digits after the point.
func parseMoney(s string) (Money, bool) {
	whole, part, dotted := strings.Cut(s, ".")
	if whole == "" || whole == "-" || dotted && part == "" || len(part) > moneyDigits {
		return 0, false
	}
	n, ok := multiply(whole+part+strings.Repeat("0", moneyDigits-len(part)), 1)
	return Money(n), ok
}

func (v amount) schema() *schema {
	return &schema{AnyOf: []*schema{
		{Type: "integer", Minimum: new(float64(0)), Maximum: new(float64(maxAmount))},
		{Type: "string", Pattern: `^\d+[kM]?$|` + variablePattern},
	}}
}

func (v money) schema() *schema { return moneySchema() }

func (v price) schema() *schema {
	s := moneySchema()
	s.Default = defaultOf(0, true)
	return s
}

func moneySchema() *schema {
	return &schema{AnyOf: []*schema{
		{Type: "number", Minimum: new(float64(0)), Maximum: new(math.Round(float64(maxMoney) / 1e6))},
		{Type: "string", Pattern: `^\d+(\.\d{1,6})?$|` + variablePattern},
	}}
}

func (v amount) diff(s scope, next value) {
	shown := func(n *int64) string {
		if n == nil {
			return "none"
		}
		return strconv.FormatInt(*n, 10)
	}
	s.change(shown(*v.to), shown(*next.(amount).to))
}

func (v money) diff(s scope, next value) {
	shown := func(m *Money) string {
		if m == nil {
			return "none"
		}
		return m.String()
	}
	s.change(shown(*v.to), shown(*next.(money).to))
}

func (v price) diff(s scope, next value) { s.change(v.to.String(), next.(price).to.String()) }

// checkLimits checks each scope's limits against each other and the models.
func checkLimits(r *reader, c *Config) {
	r.limits(&c.Limits, at("limits"))
	models := names{}
	for i := range c.Models {
		models[c.Models[i].Name] = at("models", i, "name")
		r.limits(&c.Models[i].Limits, at("models", i, "limits"))
	}
	for i := range c.Tenants {
		t := &c.Tenants[i]
		r.limits(&t.Limits, at("tenants", i, "limits"))
		for j := range t.Keys {
			r.limits(&t.Keys[j].Limits, at("tenants", i, "keys", j, "limits"))
		}
		taken := names{}
		for j := range t.ModelLimits {
			path := at("tenants", i, "model_limits", j)
			r.limits(&t.ModelLimits[j].Limits, path)
			name := below(path, "model")
			taken.claim(r, t.ModelLimits[j].Model, name)
			if _, ok := models[t.ModelLimits[j].Model]; ok || r.failed["models"] || t.ModelLimits[j].Model == "" {
				continue
			}
			if n, there := r.find(name); there {
				r.wrong(name, "there is no model %s%s", n.shown(), n.suggest(models.written(r)))
			}
		}
	}
}

func (r *reader) limits(l *Limits, path []step) {
	if l.Burst.Requests != nil && l.RequestsPerMinute == nil && !r.refused(below(path, "requests_per_minute")) {
		r.wrong(below(below(path, "burst"), "requests"), "has no meaning without requests_per_minute")
	}
	if l.Burst.Tokens != nil && l.TokensPerMinute == nil && !r.refused(below(path, "tokens_per_minute")) {
		r.wrong(below(below(path, "burst"), "tokens"), "has no meaning without tokens_per_minute")
	}
	if l.Budget.USD == nil && r.given(below(path, "budget")) && !r.refused(below(below(path, "budget"), "usd")) {
		r.wrong(below(path, "budget"), "lacks usd, the amount")
	}
}
