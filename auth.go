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
}

// String returns the reason's name as metrics write it.
func (r AuthReason) String() string {
	if r >= NumAuthReasons {
		return authReasonNames[AuthMalformed]
	}
	return authReasonNames[r]
}
