package replay

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// traffic is a generated trace of so many requests, changed by change.
func traffic(t testing.TB, profile string, requests int, change ...func(*Traffic)) *Trace {
	t.Helper()
	p, err := Profile(profile)
	require.NoError(t, err)
	p.Requests = requests
	for _, f := range change {
		f(&p)
	}
	trace, err := Generate(p, 7)
	require.NoError(t, err)
	return trace
}

func run(t testing.TB, c Config) *Result {
	t.Helper()
	r, err := Run(c)
	require.NoError(t, err)
	return r
}
