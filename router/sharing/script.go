package sharing

import (
	"context"
	_ "embed"
	"strconv"
	"time"

	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/router/admission"
)

var (
	//go:embed lease.lua
	leaseText string
	//go:embed replicas.lua
	replicasText string
)

// arguments are those of lease.lua.
func arguments(holder string, b *admission.Bid) []any {
	return []any{
		holder, b.Mode.String(), b.Size, b.Unit, b.Keep, b.Need, b.Want,
		b.Charge, b.Apart, b.Acked, b.Held, b.Born, b.Seed, b.Last.Milliseconds(),
	}
}

// exchange makes one exchange for a lease, whose Exchanging the caller holds.
func (k *link) exchange(l *admission.Lease, need int64, quit bool) {
	bid, ok := l.Bid(time.Now(), need, quit)
	if !ok {
		return
	}
	granted := func(n []int64) bool {
		return len(n) == 5 && l.Grant(&bid, admission.Grant{Total: n[0], Level: n[1], Leased: n[2], Replicas: n[3], Born: n[4]})
	}
	holder := k.me + "-" + strconv.FormatUint(l.Serial(), 10)
	if k.client.Run(context.Background(), k.lease, k.client.Key(l.Name()), granted, arguments(holder, &bid)...) != nil {
		l.Fail(&bid)
	}
}

// count says that this replica is here, or leaves, and learns how many there are.
func (k *link) count(word string) {
	_ = k.client.Run(context.Background(), k.replicas, k.client.Key("replicas"), func(n []int64) bool {
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
