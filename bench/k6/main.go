// Command k6 is Grafana's load generator, pinned by this folder's go.mod so that
// whoever types `make k6` measures with the same one. It is a module of its own:
// k6 is AGPL-3.0, and nothing of it is linked into the router.
package main

import "go.k6.io/k6/cmd"

func main() { cmd.Execute() }
