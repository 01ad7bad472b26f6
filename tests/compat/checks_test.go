//go:build integration

// What every client must prove. The programs in python, node and go have a check
// of each of these names.

package compat

// checks are the same for all clients; Python runs them twice.
var checks = []string{
	"chat",
	"chat-unicode",
	"chat-large",
	"chat-stream",
	"stream-usage",
	"stream-without-usage",
	"tools",
	"tools-stream",
	"structured",
	"embeddings-base64",
	"embeddings-float",
	"models-list",
	"models-retrieve",
	"moderations",
	"completions",
	"completions-stream",
	"responses",
	"responses-stream",
	"request-id",
	"parallel",

	"error-400",
	"error-401",
	"error-401-backend",
	"error-403",
	"error-404-model",
	"error-404-path",
	"error-409",
	"error-413",
	"error-422",
	"error-429",
	"error-500-retried",
	"error-503-retried",
	"retry-after-429",
	"retry-after-503",
	"retry-count",

	"cancel-prefill",
	"cancel-stream",
	"cut-unary",
	"cut-stream-clean",
	"cut-stream-reset",
	"cut-responses-stream",
	"error-in-stream",
	"stall-before-answer",
	"stall-in-stream",
}

func prefixed(prefixes ...string) []string {
	var names []string
	for _, prefix := range prefixes {
		for _, name := range checks {
			names = append(names, prefix+name)
		}
	}
	return names
}
