package compat

// What a case is: an order for the client, and what must come of it.

import "time"

// Feature is a part of the API that applications use: a row of the table in the
// documents, with the cases that prove it.
type Feature struct {
	Name  string
	Cases []Case
}

// Case is one thing that every client must prove.
type Case struct {
	Name   string
	Proves string // for the documents
	Needs  string // what not every client has, beside the order's verb: a key of About.Lacks
	Order  Order
	Want   Want
}

// Want is what must come of an order. Zero fields are not judged, but for the
// error: without Status or Fails there must be none.
type Want struct {
	Text     string // exactly this, if not engineText or anyText
	Finish   string
	Input    int // tokens, at least
	Output   int // tokens
	Items    int // at least
	UsageAt  UsageAt
	Call     bool // the model called the tool with both of its arguments
	Person   bool // the parsed object is what the schema says
	Vectors  int  // dimensions of one for each prompt, those of the engine itself
	IDs      string
	Innocent int // so many verdicts, none flagged
	Events   string
	Audio    string
	Distinct bool // the answer has a request id that no other had

	Status  int
	Fails   bool // an error, whatever its status
	Code    string
	Type    string
	Param   string
	Message string // stands in the error's
	Wait    string // the error's Retry-After

	Received int    // requests that the simulated engine got
	Sent     string // stands, as a JSON string, in the request that the fake backend got
	Said     string // stands in what the backend of websockets got
	Uploaded bool   // the fake backend got the audio file, byte for byte
	Tries    int    // requests that the fake backend got, numbered by the client, without its key
	Left     bool   // the engine learns within a second that the client left
	AtLeast  time.Duration
	AtMost   time.Duration
}

// UsageAt is where in a stream the usage stands.
type UsageAt uint8

// The places of usage.
const (
	UsageAnywhere UsageAt = iota
	UsageNowhere
	UsageLast // in the last item, and nowhere else
)

// What stands in an order for values that only a run knows.
const (
	keySmall = "$SMALL"  // the key that may use the model fake alone
	bareURL  = "$BARE"   // the base URL without /v1
	uniqueID = "$UNIQUE" // in a prompt
)

// What stands for a text in Want.
const (
	engineText = "$ENGINE" // what the engine says when nobody is between
	anyText    = "$ANY"
)

func ask(do, prompt string) Order { return Order{Do: do, Model: "gpt-4o-mini", Prompt: prompt} }

// fake is an order for the backend that can fail.
func fake(do, prompt string) Order { return Order{Do: do, Model: "fake", Prompt: prompt} }

func embed(encoding string, dimensions int) Order {
	return Order{
		Do: "embed", Model: "text-embedding-3-small", Prompts: []string{"one", "two"},
		Encoding: encoding, Dimensions: dimensions,
	}
}

func (o Order) by(key string) Order { o.Key = key; return o }

func (o Order) of(model string) Order { o.Model = model; return o }

func (o Order) retries(n int) Order { o.Retries = n; return o }

func (o Order) extra(name string, value any) Order { o.Extra = map[string]any{name: value}; return o }

// queue orders a script of tests/fakellm for the requests to come; the client is
// not told.
func (o Order) queue(script string) Order { o.script = script; return o }
