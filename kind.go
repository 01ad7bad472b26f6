package helixflow

// Kind says what went wrong, in a closed set. The HTTP status, type and code a
// caller sees for it stand in router/problem.go and nowhere else.
type Kind uint8

// The kinds. KindInternal is the zero value, so that a forgotten kind is ours.
const (
	KindInternal            Kind = iota // a fault of the router itself
	KindInvalidRequest                  // the request makes no sense
	KindInvalidJSON                     // the body is not the JSON it should be
	KindInvalidForm                     // the body is not the form it should be
	KindDuplicateKey                    // a key stands twice, or in a second spelling
	KindMissingModel                    // no model is named
	KindKeyInQuery                      // a credential stands in the query string
	KindUnauthenticated                 // no credential, or none we know
	KindIdentityUnavailable             // what would tell who asks is not here now
	KindAddressForbidden                // a good key, from an address it may not come from
	KindAuthThrottled                   // too many credentials of no use came from this address
	KindEndpointForbidden               // this key may not call this endpoint
	KindModelForbidden                  // the model exists, this key may not use it
	KindModelNotFound                   // no route has this name
	KindNotFound                        // no such path
	KindObjectNotFound                  // no stored object of this id, or it is another tenant's
	KindListForbidden                   // what lies there is of several tenants, and is listed for none of them
	KindPathForbidden                   // the path exists, and is nobody's here
	KindMethodNotAllowed                // the path exists, with another method
	KindNoWebsocket                     // a websocket is asked for where none is served
	KindHandshake                       // a websocket is asked for in a way that makes no sense
	KindUpgradeRequired                 // the path is a websocket's, in version 13
	KindOriginForbidden                 // a web page of this origin may not open websockets
	KindWebsocketLimit                  // server.websockets.max are open
	KindBodyTimeout                     // the client stopped sending its body
	KindBodyTooLarge                    // the body is above server.max_body
	KindHeaderTooLarge                  // the header is above server.max_header
	KindUnsupportedMedia                // content type or content encoding
	KindNoSpool                         // the body has to wait on the disk, which has no room
	KindDenied                          // a hook refused the request, or its answer
	KindHookFailed                      // a hook that must be asked gave no reply that makes sense
	KindUncheckable                     // a hook must see the answer, and cannot be shown it
	KindNoBackend                       // no backend is usable now
	KindRateLimited                     // a limit on requests refuses it now
	KindTokensLimited                   // a limit on tokens refuses it now
	KindNeverFits                       // it is larger than a limit: no waiting helps
	KindQuotaExhausted                  // a budget is used up
	KindOverloaded                      // every backend asked to be left alone for a while
	KindBackendBroken                   // the backend's answer was cut or made no sense
	KindBackendCredential               // the backend refused the router's own credential
	KindDeadline                        // the client's patience ended while the request waited for room
	KindBackendTimeout                  // the backend did not answer in time
	KindDraining                        // the router is going away
	KindExhausted                       // the router itself is short of memory or descriptors
	KindIdempotencyKey                  // the idempotency key is malformed
	KindIdempotencyBusy                 // the same request is under way
	KindIdempotencyReuse                // the idempotency key stood for another request
	KindNotCached                       // only an answer from the cache was wanted, and there is none
	KindClientGone                      // the client left; nobody reads this answer
	NumKinds                            // how many there are, for tables indexed by Kind
)

var kindNames = [NumKinds]string{
	KindInternal:            "internal",
	KindInvalidRequest:      "invalid_request",
	KindInvalidJSON:         "invalid_json",
	KindInvalidForm:         "invalid_form",
	KindDuplicateKey:        "duplicate_key",
	KindMissingModel:        "missing_model",
	KindKeyInQuery:          "key_in_query",
	KindUnauthenticated:     "unauthenticated",
	KindIdentityUnavailable: "identity_unavailable",
	KindAddressForbidden:    "address_forbidden",
	KindAuthThrottled:       "auth_throttled",
	KindEndpointForbidden:   "endpoint_forbidden",
	KindModelForbidden:      "model_forbidden",
	KindModelNotFound:       "model_not_found",
	KindNotFound:            "not_found",
	KindObjectNotFound:      "object_not_found",
	KindListForbidden:       "list_forbidden",
	KindPathForbidden:       "path_forbidden",
	KindMethodNotAllowed:    "method_not_allowed",
	KindNoWebsocket:         "no_websocket",
	KindHandshake:           "handshake",
	KindUpgradeRequired:     "upgrade_required",
	KindOriginForbidden:     "origin_forbidden",
	KindWebsocketLimit:      "websocket_limit",
	KindBodyTimeout:         "body_timeout",
	KindBodyTooLarge:        "body_too_large",
	KindHeaderTooLarge:      "header_too_large",
	KindUnsupportedMedia:    "unsupported_media",
	KindNoSpool:             "no_spool",
	KindDenied:              "denied",
	KindHookFailed:          "hook_failed",
	KindUncheckable:         "uncheckable",
	KindNoBackend:           "no_backend",
	KindRateLimited:         "rate_limited",
	KindTokensLimited:       "tokens_limited",
	KindNeverFits:           "never_fits",
	KindQuotaExhausted:      "quota_exhausted",
	KindOverloaded:          "overloaded",
	KindBackendBroken:       "backend_broken",
	KindBackendCredential:   "backend_credential",
	KindDeadline:            "deadline",
	KindBackendTimeout:      "backend_timeout",
	KindDraining:            "draining",
	KindExhausted:           "exhausted",
	KindIdempotencyKey:      "idempotency_key",
	KindIdempotencyBusy:     "idempotency_busy",
	KindIdempotencyReuse:    "idempotency_reuse",
	KindNotCached:           "not_cached",
	KindClientGone:          "client_gone",
}

// String returns the kind's name as logs and metrics write it.
func (k Kind) String() string {
	if k >= NumKinds {
		return kindNames[KindInternal]
	}
	return kindNames[k]
}
