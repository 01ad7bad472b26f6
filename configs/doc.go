// Package configs is what an operator writes: one YAML file, read strictly.
//
// # Overview
//
// [Load] and [Parse] turn a file into a [Config] with every default filled in
// and every reference checked, or into [Problems]: all of them at once, each
// with its file, line, column, path and an excerpt. There is one table of keys
// (keys.go); decoding, defaults, suggestions and the JSON schema all come from
// it, and so does [Diff], which says what one configuration changes about
// another. [Inspect] is Load that adds hints, and [Watch] tells when a file
// changed. The walk is: read (tree.go: bytes to nodes, hostile input stopped here),
// decode (value.go: nodes to fields), check (check*.go: fields against each
// other).
//
// Values may hold ${NAME} or ${NAME:-default} from the environment, $${ for a
// plain ${; secret fields may also be "file:PATH", whose content is read and
// its trailing line break cut. PATH is taken as the process sees it, so write
// it absolute. Neither values of secret fields nor values from the environment
// appear in any message or excerpt.
//
// # Concurrency
//
// A [Watcher] has one goroutine, which Close waits for, and is safe for
// concurrent use. Nothing else starts goroutines or keeps state; all functions
// are safe for concurrent use.
//
// # Ownership
//
// A [Config] belongs to the caller, shares nothing with any other, and is not
// to be changed once it is compiled. Neither data nor functions that are handed
// in are kept, but for those of Watch.
package configs

//go:generate go test -run=TestSchemaFile -update .
