package helixflow

// Names of headers the router sets or reads, in the spelling it writes.
const (
	HeaderRequestID    = "x-request-id"
	HeaderProcessingMS = "openai-processing-ms"
	HeaderShouldRetry  = "x-should-retry"
	HeaderRetryAfter   = "retry-after"
	HeaderRetryAfterMS = "retry-after-ms"
	HeaderAPIKey       = "api-key"   // Azure clients
	HeaderXAPIKey      = "x-api-key" // Anthropic clients
	HeaderOwnPrefix    = "x-helixflow-"
	HeaderReason       = "x-helixflow-reason"            // what a refusal is for, in a word
	HeaderDecision     = "x-helixflow-decision"          // how a request was routed, for those who ask with x-helixflow-explain: 1
	HeaderCache        = "x-helixflow-cache"             // what the cache had to do with an answer: hit, miss, coalesced or bypass
	HeaderReplayed     = "x-helixflow-idempotent-replay" // the answer was given before
)
