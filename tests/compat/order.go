package compat

// What the runner and a client's driver say to each other: an Order is a line of
// JSON on the driver's stdin, its Answer a line on stdout.

import "encoding/json"

// Order is one thing for a client to do. Zero fields are the client's defaults,
// but for Retries: 0 is none.
type Order struct {
	Do      string `json:"do"` // the verb; see doc.go
	BaseURL string `json:"base_url"`
	Key     string `json:"key"`
	Model   string `json:"model"`
	Retries int    `json:"retries"`

	Prompt  string   `json:"prompt"`
	Prompts []string `json:"prompts"` // of parallel, one request each, and of embed, one request in all
	Image   string   `json:"image"`   // a data: URL beside the prompt
	Audio   []byte   `json:"audio"`   // a file, sound.mp3; in base64
	Force   bool     `json:"force"`   // the model must call the tool
	Usage   bool     `json:"usage"`   // ask for usage in a stream

	MaxTokens  int            `json:"max_tokens"`
	Encoding   string         `json:"encoding"` // of vectors
	Dimensions int            `json:"dimensions"`
	Extra      map[string]any `json:"extra"` // keys that the client has no types for, or others

	Endpoint string         `json:"endpoint"` // of known: below /v1
	Body     map[string]any `json:"body"`     // and the whole request
	Times    int            `json:"times"`    // so many of it at once

	LeaveMS    int `json:"leave_ms"`    // abort the request after so long
	LeaveAfter int `json:"leave_after"` // abort a stream after so many items

	script string // for the fake backend
}

// Answer is what became of an order, as the client tells its caller.
type Answer struct {
	Text      string         `json:"text"`
	Texts     []string       `json:"texts"` // of parallel
	Finish    string         `json:"finish"`
	Input     int            `json:"input_tokens"`
	Output    int            `json:"output_tokens"`
	Items     int            `json:"items"`    // of a stream: those that bear something
	UsageAt   []int          `json:"usage_at"` // which of the items bore usage, from 0
	Events    []string       `json:"events"`   // of a Responses stream: the types, in order
	Calls     []Call         `json:"calls"`
	Parsed    map[string]any `json:"parsed"` // what a parse helper made of structured output
	Vectors   [][]float64    `json:"vectors"`
	IDs       []string       `json:"ids"` // of models
	Flagged   []bool         `json:"flagged"`
	Audio     []byte         `json:"audio"` // in base64
	RequestID string         `json:"request_id"`
	Seen      []Seen         `json:"seen"` // of known
	Error     *Failure       `json:"error"`
	Bug       string         `json:"bug"` // of the driver
	About                    // of the verb about
}

// Call is a tool call.
type Call struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON
}

// Seen is an answer that the router may have known, as the client reads it.
type Seen struct {
	Cache   string          `json:"cache"`   // by the client's raw response
	Age     string          `json:"age"`     // likewise
	Items   json.RawMessage `json:"items"`   // what it parsed: the one object, or those of the stream
	Meaning json.RawMessage `json:"meaning"` // the whole answer; of a stream what the client puts together
}

// Failure is the error a client raised.
type Failure struct {
	Class      string `json:"class"` // its type's name, without packages
	Status     int    `json:"status"`
	Code       string `json:"code"`
	Type       string `json:"type"`
	Param      string `json:"param"`
	Message    string `json:"message"`
	RequestID  string `json:"request_id"`
	RetryAfter string `json:"retry_after"`
}

// About is what a driver says of its client.
type About struct {
	Versions map[string]string `json:"versions"` // of Client.Packages
	// Lacks names verbs and needs of cases that the client has no way to meet,
	// with the reason.
	Lacks map[string]string `json:"lacks"`
	// Blind names fields of Answer and Failure that the client does not tell its
	// caller, with the reason or "". They are not judged.
	Blind map[string]string `json:"blind"`
}
