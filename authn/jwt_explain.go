package authn

import "github.com/helixflow/helixflow"

var explanations = map[helixflow.AuthReason]string{
	helixflow.AuthMalformed:   "it is not a signed token of at most 8 KiB, or its header or claims are malformed, or say what is not the sender's to say",
	helixflow.AuthIssuer:      "its issuer is none of auth.jwt",
	helixflow.AuthAlgorithm:   "its algorithm is not one of its issuer's algorithms",
	helixflow.AuthType:        "its typ is not the issuer's type",
	helixflow.AuthSigner:      "its issuer has no key of this kid and algorithm",
	helixflow.AuthSignature:   "its signature does not fit its issuer's key",
	helixflow.AuthExpired:     "it has expired",
	helixflow.AuthNotYet:      "it is not valid yet: nbf or iat is in the future",
	helixflow.AuthLifetime:    "it is good for longer than its issuer's max_lifetime",
	helixflow.AuthAudience:    "it is for another audience",
	helixflow.AuthClaim:       "it lacks exp, aud or another required claim",
	helixflow.AuthTenant:      "its tenant is not one that its issuer may name",
	helixflow.AuthRole:        "it has none of its issuer's roles",
	helixflow.AuthUnavailable: "its issuer's keys could not be fetched",
}

// Explain says for an operator why a token was refused.
func Explain(r helixflow.AuthReason) string { return explanations[r] }
