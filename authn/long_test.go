//go:build long && !race

package authn

import "testing"

func TestKeyringSizeOfAMillion(t *testing.T) { keyringSize(t, mostKeys) }

func TestTimeOfARefusalAtLength(t *testing.T) { timeOfARefusal(t, 100_000) }
