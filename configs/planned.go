package configs

// Keys of the design that this version does not have yet: an unknown key that
// stands here is told apart from a typing mistake. An entry leaves when its key
// enters the table in keys.go.

var planned = map[string][]string{
	"": {"ledger", "store", "version"},
}
