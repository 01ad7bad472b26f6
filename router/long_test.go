//go:build long && !race

package router

import "testing"

func TestTimeOfA401AtLength(t *testing.T) { timeOfA401(t, 100_000) }
