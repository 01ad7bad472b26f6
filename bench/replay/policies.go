package replay

// The policies there are: production's, and others' made from what was published
// of them.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/helixflow/helixflow/balancer"
)

// Policies returns the names of all policies, sorted. The caller owns the slice.
func Policies() []string {
	names := append(balancer.Names(), likes()...)
	slices.Sort(names)
	return names
}

func newPolicy(name string, t balancer.Tuning) (balancer.Policy, error) {
	if p := newLike(name); p != nil {
		return p, nil
	}
	p, err := balancer.New(name, t)
	if err != nil {
		return nil, fmt.Errorf("cannot make balancing policy %q: the policies are %s", name, strings.Join(Policies(), ", "))
	}
	return p, nil
}
