package router

import (
	"strconv"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file is the only place that turns a kind of error into a status, a type
// and a code.

// form is how a kind of error looks to a client. retry is x-should-retry,
// which stops or starts the retries of OpenAI's SDKs.
type form struct {
	status int
	typ    string
	code   string
	text   string // when the error brings none
	retry  retryAdvice
}

type retryAdvice uint8

const (
	adviseNothing retryAdvice = iota
	adviseRetry
	adviseNoRetry
)

const (
	typeInvalid  = "invalid_request_error"
	typeServer   = "server_error"
	typeRequests = "requests"
	typeTokens   = "tokens"
	typeQuota    = "insufficient_quota"
)

var forms = [helixflow.NumKinds]form{
	helixflow.KindInternal:            {500, typeServer, "internal_error", "The router met an internal error.", adviseNothing},
	helixflow.KindInvalidRequest:      {400, typeInvalid, "", "The request is not valid.", adviseNothing},
	helixflow.KindInvalidJSON:         {400, typeInvalid, "invalid_json", "The body is not a valid JSON object.", adviseNothing},
	helixflow.KindInvalidForm:         {400, typeInvalid, "invalid_multipart", "The body is not a valid multipart form.", adviseNothing},
	helixflow.KindDuplicateKey:        {400, typeInvalid, "duplicate_key", "A key of the body stands twice.", adviseNothing},
	helixflow.KindMissingModel:        {400, typeInvalid, "missing_model", "You must provide a model parameter.", adviseNothing},
	helixflow.KindKeyInQuery:          {400, typeInvalid, "key_in_query", "Credentials are not accepted in the query string: it ends up in logs. Send them in the Authorization header.", adviseNothing},
	helixflow.KindUnauthenticated:     {401, typeInvalid, "invalid_api_key", "Incorrect API key provided.", adviseNothing},
	helixflow.KindIdentityUnavailable: {503, typeServer, "identity_unavailable", "The keys of the access token's issuer are not available now.", adviseRetry},
	helixflow.KindAddressForbidden:    {401, typeInvalid, "ip_not_authorized", "This API key may not be used from your address.", adviseNothing},
	helixflow.KindAuthThrottled:       {429, typeRequests, "too_many_auth_failures", "Too many requests with incorrect credentials came from your address. Only those are refused: check the API key.", adviseNoRetry},
	helixflow.KindEndpointForbidden:   {403, typeInvalid, "endpoint_not_allowed", "This API key may not call this endpoint.", adviseNothing},
	helixflow.KindModelForbidden:      {403, typeInvalid, "model_not_allowed", "This API key may not use this model.", adviseNothing},
	helixflow.KindModelNotFound:       {404, typeInvalid, "model_not_found", "The model does not exist.", adviseNothing},
	helixflow.KindNotFound:            {404, typeInvalid, "unknown_url", "Unknown request URL. Check the path and the method.", adviseNothing},
	helixflow.KindObjectNotFound:      {404, typeInvalid, "object_not_found", "The object does not exist or you do not have access to it.", adviseNothing},
	helixflow.KindListForbidden:       {403, typeInvalid, "list_forbidden", "Objects of several tenants lie here, so they are not listed. Name one by its id.", adviseNothing},
	helixflow.KindPathForbidden:       {403, typeInvalid, "path_forbidden", "The paths that administer an account are not served here.", adviseNothing},
	helixflow.KindMethodNotAllowed:    {405, typeInvalid, "method_not_allowed", "This method is not allowed on this path.", adviseNothing},
	helixflow.KindNoWebsocket:         {400, typeInvalid, "websocket_not_served", "Websockets are not served on this path.", adviseNothing},
	helixflow.KindHandshake:           {400, typeInvalid, "invalid_handshake", "The websocket's handshake is not valid.", adviseNothing},
	helixflow.KindUpgradeRequired:     {426, typeInvalid, "upgrade_required", "This path is served as a websocket of version 13: send Upgrade: websocket.", adviseNothing},
	helixflow.KindOriginForbidden:     {403, typeInvalid, "origin_not_allowed", "Web pages of this origin may not open websockets here.", adviseNothing},
	helixflow.KindWebsocketLimit:      {503, typeServer, "too_many_websockets", "The router has as many websockets open as it may.", adviseRetry},
	helixflow.KindBodyTimeout:         {408, typeInvalid, "request_timeout", "The request's body did not arrive in time.", adviseNothing},
	helixflow.KindBodyTooLarge:        {413, typeInvalid, "request_too_large", "The request's body is too large.", adviseNothing},
	helixflow.KindHeaderTooLarge:      {431, typeInvalid, "header_too_large", "The request's header is too large.", adviseNothing},
	helixflow.KindUnsupportedMedia:    {415, typeInvalid, "unsupported_media_type", "The body must be JSON, not encoded.", adviseNothing},
	helixflow.KindNoSpool:             {503, typeServer, "upload_storage_full", "There is no room now for an upload whose model comes so late. Send the model field before the files.", adviseRetry},
	helixflow.KindDenied:              {400, typeInvalid, "content_filter", "The request was refused by a policy of the router's operator.", adviseNothing},
	helixflow.KindHookFailed:          {503, typeServer, "check_unavailable", "The request could not be checked as the router's operator wants it.", adviseNothing},
	helixflow.KindUncheckable:         {502, typeServer, "answer_unchecked", "The answer could not be checked as the router's operator wants it, and is withheld.", adviseNoRetry},
	helixflow.KindNoBackend:           {503, typeServer, "no_backend_available", "No backend of this model is available now.", adviseRetry},
	helixflow.KindRateLimited:         {429, typeRequests, "rate_limit_exceeded", "A rate limit was reached.", adviseNothing},
	helixflow.KindTokensLimited:       {429, typeTokens, "rate_limit_exceeded", "A limit on tokens was reached.", adviseNothing},
	helixflow.KindNeverFits:           {429, typeTokens, "rate_limit_exceeded", "The request is larger than a limit.", adviseNoRetry},
	helixflow.KindQuotaExhausted:      {429, typeQuota, "insufficient_quota", "The budget is used up.", adviseNoRetry},
	helixflow.KindOverloaded:          {429, typeRequests, "overloaded", "Every backend of this model asked to be left alone for a while.", adviseRetry},
	helixflow.KindBackendBroken:       {502, typeServer, "upstream_error", "The backend's answer was interrupted or made no sense.", adviseNothing},
	helixflow.KindBackendCredential:   {502, typeServer, "upstream_error", "The backend refused the router's credential. This is for the router's operator to mend.", adviseNoRetry},
	helixflow.KindDeadline:            {504, typeServer, "deadline_exceeded", "No backend had room in the time that the client would wait.", adviseNothing},
	helixflow.KindBackendTimeout:      {504, typeServer, "upstream_timeout", "The backend did not answer in time.", adviseNothing},
	helixflow.KindDraining:            {503, typeServer, "draining", "The router is shutting down.", adviseRetry},
	helixflow.KindExhausted:           {503, typeServer, "router_overloaded", "The router is short of memory, and takes no requests now.", adviseRetry},
	helixflow.KindIdempotencyKey:      {400, typeInvalid, "invalid_idempotency_key", "An Idempotency-Key must stand once, and be 1 to 255 printable ASCII characters.", adviseNothing},
	helixflow.KindIdempotencyBusy:     {409, typeInvalid, "idempotency_in_progress", "The same request, with this Idempotency-Key, is being answered.", adviseRetry},
	helixflow.KindIdempotencyReuse:    {422, typeInvalid, "idempotency_key_reused", "This Idempotency-Key stood for another request before.", adviseNoRetry},
	helixflow.KindNotCached:           {504, typeServer, "not_cached", "No answer to this request is cached, and Cache-Control: only-if-cached asks for no other.", adviseNoRetry},
	helixflow.KindClientGone:          {499, typeServer, "client_gone", "The client closed the connection.", adviseNothing},
}

// Codes of the error frame of a stream whose head is out already.
const (
	codeInterrupted = "upstream_interrupted"
	codeStalled     = "upstream_timeout"
	codeDraining    = "draining"
	codeExhausted   = "router_overloaded"
)

func text(p *helixflow.Error) string {
	if p.Public != "" {
		return p.Public
	}
	return forms[p.Kind].text
}

// worthKeeping reports whether the same request would get the same answer again:
// a result, or an error that is about the request and nothing else.
func worthKeeping(status int) bool {
	switch status {
	case 400, 413, 422:
		return true
	}
	return 200 <= status && status < 300
}

// hasNoRoom reports whether an answer of this status says that there are too many
// requests.
func hasNoRoom(status int) bool { return status == 429 || status == 503 || status == 529 }

// faultStatus is the status of an error that a backend said inside a 200.
func faultStatus(f *openai.Fault) int {
	if f.Status != 0 {
		return f.Status
	}
	switch string(f.Kind()) {
	case "invalid_request_error", "BadRequestError":
		return 400
	case "validation", "template_error", "tool_error": // TGI's, with the statuses it gives them itself
		return 422
	case "generation":
		return 424
	case "overloaded", "rate_limit_error":
		return 429
	case "incomplete_generation", "server_error":
		return 500
	}
	return forms[helixflow.KindBackendBroken].status
}

// faultDefault is what a backend's error of this status says where its own words
// are of no use.
func faultDefault(status int) openai.FaultDefault {
	d := openai.FaultDefault{Message: "The backend answered " + statusText(status) + ".", Type: typeServer}
	if status < 500 {
		d.Type = typeInvalid
	}
	if status == statusTooMany {
		d.Type = typeRequests
	}
	return d
}

// brokenOff is what an error inside a stream says that says nothing.
var brokenOff = openai.FaultDefault{Message: "The backend ended the stream with an error.", Type: typeServer}

func code(p *helixflow.Error) string {
	if p.Code != "" {
		return p.Code
	}
	return forms[p.Kind].code
}

// answerProblem makes p the exchange's answer.
func (e *Exchange) answerProblem(p *helixflow.Error) {
	e.status = forms[p.Kind].status
	e.local.Free()
	e.local = buf.Get(512)
	e.local.B = problemBody(e.local.B, p)
}

// appendRetryHeaders appends what the client's SDK is told about retrying.
func appendRetryHeaders(dst []byte, p *helixflow.Error) []byte {
	switch forms[p.Kind].retry {
	case adviseRetry:
		dst = append(dst, helixflow.HeaderShouldRetry+": true\r\n"...)
	case adviseNoRetry:
		dst = append(dst, helixflow.HeaderShouldRetry+": false\r\n"...)
	}
	after := p.RetryAfter
	if after <= 0 {
		return dst
	}
	dst = append(dst, helixflow.HeaderRetryAfter+": "...)
	dst = strconv.AppendInt(dst, int64((after+time.Second-1)/time.Second), 10)
	dst = append(dst, "\r\n"+helixflow.HeaderRetryAfterMS+": "...)
	dst = strconv.AppendInt(dst, after.Milliseconds(), 10)
	return append(dst, "\r\n"...)
}

// appendChallenge appends how to say who one is (RFC 9110, section 11.6.1; RFC 6750,
// section 3); sent tells whether a credential came.
func appendChallenge(dst []byte, p *helixflow.Error, sent bool) []byte {
	if p.Kind != helixflow.KindUnauthenticated {
		return dst
	}
	dst = append(dst, `WWW-Authenticate: Bearer realm="helixflow"`...)
	if sent {
		dst = append(dst, `, error="invalid_token"`...)
	}
	return append(dst, "\r\n"...)
}

// Predeclared errors of the hot path.
var (
	errNoCredential   = &helixflow.Error{Kind: helixflow.KindUnauthenticated, Public: "You didn't provide an API key. Send it in the Authorization header: Authorization: Bearer YOUR_KEY."}
	errToken          = &helixflow.Error{Kind: helixflow.KindUnauthenticated, Public: "The access token is not valid."}
	errCertificate    = &helixflow.Error{Kind: helixflow.KindUnauthenticated, Public: "The client certificate is not one of a caller known here."}
	errIdentity       = &helixflow.Error{Kind: helixflow.KindIdentityUnavailable, RetryAfter: time.Second}
	errTwoCredentials = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Public: "A header that carries credentials stands twice."}
	errKeyInQuery     = &helixflow.Error{Kind: helixflow.KindKeyInQuery}
	errNotFound       = &helixflow.Error{Kind: helixflow.KindNotFound}
	errAdministrative = &helixflow.Error{Kind: helixflow.KindPathForbidden}
	errListing        = &helixflow.Error{Kind: helixflow.KindListForbidden}
	errHiddenJSON     = &helixflow.Error{Kind: helixflow.KindUnsupportedMedia, Public: "A body that begins as JSON does must be sent as application/json."}
	errFormEncoding   = &helixflow.Error{Kind: helixflow.KindUnsupportedMedia, Public: "A form must be sent as multipart/form-data."}
	errQuery          = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Public: "The query string is malformed."}
	errManyFields     = &helixflow.Error{Kind: helixflow.KindInvalidForm, Public: "The form names too many objects before its files."}
	errMethod         = &helixflow.Error{Kind: helixflow.KindMethodNotAllowed}
	errNoWebsocket    = &helixflow.Error{Kind: helixflow.KindNoWebsocket}
	errHandshake      = &helixflow.Error{Kind: helixflow.KindHandshake}
	errUpgrade        = &helixflow.Error{Kind: helixflow.KindUpgradeRequired}
	errOrigin         = &helixflow.Error{Kind: helixflow.KindOriginForbidden}
	errWebsockets     = &helixflow.Error{Kind: helixflow.KindWebsocketLimit, RetryAfter: time.Second}
	errNoQueryModel   = &helixflow.Error{Kind: helixflow.KindMissingModel, Param: "model", Public: "You must name a model in the query: /v1/realtime?model=NAME."}
	errQueryModel     = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Param: "model", Public: "The query must name one model, once, and be parted by & alone."}
	errFirstEvent     = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Param: "type", Public: "The first event must be a response.create."}
	errNoType         = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Param: "type", Public: "An event must have a type."}
	errSocketTotal    = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Code: "websocket_connection_limit_reached", Public: "This websocket has been open for as long as it may. Open another one to go on."}
	errOtherModel     = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Param: "model", Public: "A websocket stays with the model of its first event. Open another one for another model."}
	errMissingModel   = &helixflow.Error{Kind: helixflow.KindMissingModel, Param: "model"}
	errEmptyBody      = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Public: "The request body has no parameters."}
	errAddress        = &helixflow.Error{Kind: helixflow.KindAddressForbidden}
	errEndpoint       = &helixflow.Error{Kind: helixflow.KindEndpointForbidden}
	errForbidden      = &helixflow.Error{Kind: helixflow.KindModelForbidden, Param: "model"}
	errContentType    = &helixflow.Error{Kind: helixflow.KindUnsupportedMedia, Public: "The Content-Type must be application/json."}
	errFormType       = &helixflow.Error{Kind: helixflow.KindUnsupportedMedia, Public: "The Content-Type must be multipart/form-data or application/json."}
	errEncoding       = &helixflow.Error{Kind: helixflow.KindUnsupportedMedia, Public: "The body must not be compressed: Content-Encoding is not accepted."}
	errBodyTimeout    = &helixflow.Error{Kind: helixflow.KindBodyTimeout}
	errNotCached      = &helixflow.Error{Kind: helixflow.KindNotCached}
	errClientGone     = &helixflow.Error{Kind: helixflow.KindClientGone}
	errDraining       = &helixflow.Error{Kind: helixflow.KindDraining, RetryAfter: time.Second}
	errDeadline       = &helixflow.Error{Kind: helixflow.KindDeadline}
	errHookFailed     = &helixflow.Error{Kind: helixflow.KindHookFailed}
	errWithheld       = &helixflow.Error{Kind: helixflow.KindUncheckable}
	errNoTime         = &helixflow.Error{Kind: helixflow.KindBackendTimeout, Public: "The request's time ran out while it was checked."}
	errNotUTF8        = &helixflow.Error{Kind: helixflow.KindInvalidJSON, Public: "The request body is not valid UTF-8."}
	errUnseen         = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Code: "unsupported_value", Public: "Requests for this model are checked, and this one cannot be."}
	errUnseenStream   = &helixflow.Error{Kind: helixflow.KindInvalidRequest, Code: "unsupported_value", Param: "stream", Public: "Answers of this model are checked whole, so it does not stream. Ask without 'stream'."}
	errHomeOut        = &helixflow.Error{Kind: helixflow.KindNoBackend, RetryAfter: time.Second, Public: "The backend that has this object is not available now."}
	errPathBusy       = &helixflow.Error{Kind: helixflow.KindNoBackend, Reason: reasonBackendsBusy, RetryAfter: time.Second, Public: "Every backend of this path is at its limit."}
	errAllBusy        = &helixflow.Error{Kind: helixflow.KindNoBackend, Reason: reasonBackendsBusy, RetryAfter: time.Second, Public: "Every backend of this model is at its limit."}
)

var (
	errIdempotencyKey   = &helixflow.Error{Kind: helixflow.KindIdempotencyKey}
	errIdempotencyReuse = &helixflow.Error{Kind: helixflow.KindIdempotencyReuse}
)

// problemBody appends the error object of p.
func problemBody(dst []byte, p *helixflow.Error) []byte {
	return openai.AppendErrorBody(dst, text(p), forms[p.Kind].typ, p.Param, code(p))
}

func tooLarge(limit int64) *helixflow.Error {
	return &helixflow.Error{
		Kind:   helixflow.KindBodyTooLarge,
		Public: "The request's body is above the limit of " + strconv.FormatInt(limit, 10) + " bytes.",
	}
}

// problemEvent appends p as an event of the websocket of responses.
func problemEvent(dst []byte, p *helixflow.Error) []byte {
	return openai.AppendErrorEvent(dst, forms[p.Kind].status, problemBody(nil, p))
}

// retryable reports whether p may be gone when the client asks again.
func retryable(p *helixflow.Error) bool {
	return forms[p.Kind].retry == adviseRetry || p.RetryAfter > 0
}
