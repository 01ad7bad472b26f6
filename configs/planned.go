package configs

// Keys of the design that this version does not have yet: an unknown key that
// stands here is told apart from a typing mistake. An entry leaves when its key
// enters the table in keys.go.

var planned = map[string][]string{
	"":                   {"passthrough", "cache", "redis", "cluster", "ledger", "store", "version"},
	"server":             {"max_upload", "handover", "trusted_proxies"},
	"server.tls":         {"client_ca", "client_auth"},
	"auth":               {"order", "key_files", "jwt"},
	"tenants[]":          {"priority", "limits"},
	"pools[]":            {"tenant", "keys", "health", "retry", "queue"},
	"models[]":           {"params", "cache", "price"},
	"models[].targets[]": {"priority", "weight", "mirror"},
	"log":                {"access"},
}
