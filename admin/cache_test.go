package admin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSelectedAnswers(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	f := func(query string, want CacheSelection) {
		t.Helper()
		got, err := selectedAnswers(query)
		assert.NoError(t, err, query)
		assert.Equal(t, want, got, query)
	}
	f("all=true", CacheSelection{})
	f("tenant=a", CacheSelection{Tenant: "a"})
	f("model=m%2F1&tenant=a", CacheSelection{Tenant: "a", Model: "m/1"})
	f("key="+digest, CacheSelection{Digest: digest})
	for _, query := range []string{
		"", "all", "all=", "all=false", "all=true&tenant=a", "tenant=", "tenant=a&tenant=b", "tenant=a&x=y",
		"key=abc", "key=" + digest + "ab", "key=" + strings.Repeat("z", 64), "tenant=%", "Tenant=a",
	} {
		_, err := selectedAnswers(query)
		assert.Error(t, err, query)
	}
}
