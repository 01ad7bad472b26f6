package sharing

import (
	"context"
	_ "embed"

	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/router/admission"
)

var (
	//go:embed lease.lua
	leaseText string
	//go:embed replicas.lua
	replicasText string
)

// How many arguments lease.lua takes for each key, and numbers it returns.
const (
	perBid   = 14
	perGrant = 5
)

// appendArguments appends those of lease.lua for one key.
func appendArguments(dst []any, holder string, b *admission.Bid) []any {
	return append(dst,
		holder, b.Mode.String(), b.Size, b.Unit, b.Keep, b.Need, b.Want,
		b.Charge, b.Apart, b.Acked, b.Held, b.Born, b.Seed, b.Last.Milliseconds(),
	)
}

// count says that this replica is here, or leaves, and learns how many there are.
func (k *link) count(word string) {
	_ = k.client.Run(context.Background(), k.replicas, []string{k.client.Key("replicas")}, func(n []int64) bool {
		if len(n) != 1 || n[0] < 0 {
			return false
		}
		k.commons.SetReplicas(n[0])
		return true
	}, k.me, word)
}

func newScripts() (lease, replicas *redisx.Script) {
	return redisx.NewScript(leaseText), redisx.NewScript(replicasText)
}
