package helixflow

// AuthReason is what became of a credential, in a closed set. It is for
// operators, in metrics and at a command line: a caller learns nothing of it.
type AuthReason uint8

// The reasons. AuthAccepted is the zero value, and the only one that lets in.
const (
	AuthAccepted    AuthReason = iota
	AuthMissing                // none came, or none that could be one
	AuthMalformed              // it is not of the form of any credential
	AuthChecksum               // of the form of a key, mistyped
	AuthUnknown                // a key of an id that nobody has
	AuthWrongSecret            // the id of a key, with another secret
	AuthNotYet                 // the key's time has not come
	AuthExpired                // it is over
	AuthRevoked                // the key was revoked
	AuthAddress                // the key is good, and not from this address
	AuthIssuer                 // a token of an issuer that is not configured
	AuthAlgorithm              // a token signed in a way that is not its issuer's
	AuthType                   // a token of another type
	AuthSigner                 // a token signed with a key that its issuer does not have
	AuthSignature              // a token whose signature does not fit
	AuthLifetime               // a token that lives longer than its issuer's may
	AuthAudience               // a token for somebody else
	AuthClaim                  // a token that lacks a claim it needs
	AuthTenant                 // a token of a tenant that its issuer may not name
	AuthRole                   // a token without a role that lets somebody in
	AuthCertificate            // a client certificate that no rule is for
	AuthUnavailable            // the keys of a token's issuer are not here
	NumAuthReasons             // how many there are, for tables indexed by AuthReason
)

var authReasonNames = [NumAuthReasons]string{
	AuthAccepted:    "accepted",
	AuthMissing:     "missing",
	AuthMalformed:   "malformed",
	AuthChecksum:    "checksum",
	AuthUnknown:     "unknown_key",
	AuthWrongSecret: "wrong_secret",
	AuthNotYet:      "not_yet_valid",
	AuthExpired:     "expired",
	AuthRevoked:     "revoked",
	AuthAddress:     "address",
	AuthIssuer:      "issuer",
	AuthAlgorithm:   "algorithm",
	AuthType:        "type",
	AuthSigner:      "signer",
	AuthSignature:   "signature",
	AuthLifetime:    "lifetime",
	AuthAudience:    "audience",
	AuthClaim:       "claim",
	AuthTenant:      "tenant",
	AuthRole:        "role",
	AuthCertificate: "certificate",
	AuthUnavailable: "unavailable",
}

// String returns the reason's name as metrics write it.
func (r AuthReason) String() string {
	if r >= NumAuthReasons {
		return authReasonNames[AuthMalformed]
	}
	return authReasonNames[r]
}
