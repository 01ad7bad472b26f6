package authn

// The fingerprint of RSA keys that a faulty library in smart cards and TPMs
// made, and that can be factored (Nemec et al., The Return of Coppersmith's
// Attack, CCS 2017; CVE-2017-15361).

import "math/big"

// rocaPrimes divide the number whose powers of 65537 gave such keys away.
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
	113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

// rocaWeak reports whether the modulus is a power of 65537 modulo each of the
// primes. For other keys that is less likely than 1 in 2^27.
func rocaWeak(n *big.Int) bool {
	rest := new(big.Int)
	for _, p := range rocaPrimes {
		want := rest.Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			if power == want {
				found = true
				break
			}
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}
