//go:build integration && linux

package replicas

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testredis"
)

// Certificates that are replaced at their paths are used from then on: those that
// Redis is trusted by, and the one that the router shows.
func TestCertificatesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "redis.crt"), filepath.Join(dir, "redis.key")
	testredis.WriteCertificate(t, cert, key)
	s := testredis.Start(t)
	w := newWorldOn(s, t, 0, "{requests_per_minute: 1000}")
	w.section = fmt.Sprintf(`redis: {url: "rediss://%s", timeout: 1s, tls: {ca: %q, cert: %q, key: %q}} # %%s`,
		s.ListenTLS(t, cert, key, "yes"), cert, cert, key)
	w.routers = append(w.routers, w.start())
	w.agree(1)

	testredis.WriteCertificate(t, cert, key)
	s.ListenTLS(t, cert, key, "yes")
	s.Command(t, "CLIENT", "KILL", "TYPE", "normal")
	s.Command(t, "DEL", "helixflow:replicas")
	require.Eventually(t, func() bool { return s.Command(t, "EXISTS", "helixflow:replicas") == ":1" }, patience, 20*time.Millisecond,
		"the router has said again that it is there")
}
