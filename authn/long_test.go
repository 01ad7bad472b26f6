//go:build long

package authn

import "testing"

func TestKeyringSizeOfAMillion(t *testing.T) { keyringSize(t, mostKeys) }
