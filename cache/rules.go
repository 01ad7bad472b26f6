package cache

// Rules: which answers are worth keeping, and for how long.

import (
	"strconv"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/openai"
)

// Rule is what is kept of the answers of one model. Immutable.
type Rule struct {
	TTL       time.Duration
	Jitter    float64 // by which share of it a lifetime may be shorter, from 0 to 1
	Sharing   Sharing
	MaxAnswer int64 // bytes
	Allow     Allowance
	Original  bool // a replayed stream keeps the pace that it had
	Charge    Charge
}

// Allowance is a set of what a rule keeps besides answers that would be the same
// again.
type Allowance uint8

// The allowances.
const (
	Sampled     Allowance = 1 << iota // that another try would have answered otherwise
	Choices                           // with more than one choice
	ServerTools                       // that came of tools which the backend runs
	Stored                            // that the backend stores
)

// Charge is what an answer from the cache counts as against limits and budgets.
type Charge uint8

// The charges.
const (
	ChargeNothing Charge = iota // but the request itself
	ChargeTokens                // its tokens, at no price
	ChargeAll                   // what it would have cost
)

// Reason is why an answer is not kept.
type Reason uint8

// The reasons. Keeps is none.
const (
	Keeps        Reason = iota
	NotThisOp           // answers of the operation are not kept
	NotReadable         // more members than are looked at, or one stands twice
	NotSame             // it would be another one again
	ManyChoices         // more than one choice
	UsesTools           // tools that the backend runs
	IsStored            // the backend stores it
	DependsOnOld        // it builds on what a backend has stored, or is answered later
	NumReasons
)

var reasons = [NumReasons]string{"", "endpoint", "unreadable", "sampled", "choices", "server_tools", "stored", "refers"}

// String is the reason in a word.
func (r Reason) String() string { return reasons[r] }

// Judge says whether the answer to a request may be kept, and found again.
func (r *Rule) Judge(op helixflow.Op, body []byte, c *openai.Call, v *openai.View) Reason {
	switch op {
	case helixflow.OpEmbeddings, helixflow.OpModerations:
		return Keeps
	case helixflow.OpChatCompletions, helixflow.OpCompletions, helixflow.OpResponses:
	default:
		return NotThisOp
	}
	switch {
	case c.PreviousResponseID.Present(), c.Conversation.Present(), string(v.Get(body, "background")) == "true",
		op == helixflow.OpResponses && c.Prompt.Present():
		return DependsOnOld
	case r.Allow&Choices == 0 && c.N != 1:
		return ManyChoices
	case r.Allow&ServerTools == 0 && usesServerTools(op, body, c, v):
		return UsesTools
	case r.Allow&Stored == 0 && isStored(op, body, c, v):
		return IsStored
	case r.Allow&Sampled == 0 && !isDeterministic(body, v):
		return NotSame
	}
	return Keeps
}

// isDeterministic reports whether the request asks for the likeliest tokens, or
// names the seed of its dice.
func isDeterministic(body []byte, v *openai.View) bool {
	if seed := v.Get(body, "seed"); isNumber(seed) {
		return true
	}
	t := v.Get(body, "temperature")
	return isNumber(t) && isZero(t)
}

func isNumber(raw []byte) bool {
	return len(raw) > 0 && (raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9')
}

func isZero(raw []byte) bool {
	if len(raw) > 32 {
		return false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	return err == nil && f == 0
}

// isStored reports whether a backend may keep the answer under an id that could
// be gone, or changed, when the answer is given again. Responses are stored unless
// the request says otherwise, chats only if it does.
func isStored(op helixflow.Op, body []byte, c *openai.Call, v *openai.View) bool {
	if op == helixflow.OpResponses {
		return !c.NoStore
	}
	store := v.Get(body, "store")
	return store != nil && string(store) != "false"
}

// usesServerTools reports whether the request names a tool that is not the
// client's own to run: those see a world that changes.
func usesServerTools(op helixflow.Op, body []byte, c *openai.Call, v *openai.View) bool {
	if v.Get(body, "web_search_options") != nil {
		return true
	}
	if !c.Tools.Present() || op == helixflow.OpCompletions {
		return false
	}
	return !openai.OnlyFunctions(c.Tools.In(body))
}

// Lifetime is how long an answer is kept; random is 64 random bits. Jitter keeps
// answers that came together from ending together.
func (r *Rule) Lifetime(random uint64) time.Duration {
	part := float64(random>>11) / (1 << 53)
	return r.TTL - time.Duration(float64(r.TTL)*r.Jitter*part)
}
