package helixflow

// Op is an operation that the router knows. Its name, path and body stand in one
// table.
type Op uint8

// The operations. OpUnknown is the zero value.
const (
	OpUnknown Op = iota

	// Understood fully: routed by the model in a JSON body, metered.
	OpChatCompletions
	OpCompletions
	OpResponses
	OpEmbeddings
	OpModerations

	// Answered from the plan.
	OpListModels
	OpGetModel

	// Routed by the model in a JSON body, and passed on.
	OpSpeech
	OpImageGenerations
	OpRerank
	OpScore
	OpClassify
	OpPooling
	OpTokenize
	OpDetokenize
	OpResponsesCompact
	OpResponsesInputTokens
	OpMessages
	OpMessagesCountTokens

	// Routed by the model in a form, or in a JSON body, and passed on as it comes.
	OpTranscriptions
	OpTranslations
	OpImageEdits
	OpImageVariations
	OpVideos

	// Routed by the prefix of its path.
	OpPassthrough

	// Websockets.
	OpRealtime
	OpResponsesSocket

	NumOps // how many there are, for tables indexed by Op
)

// Body is what a request of an operation carries.
type Body uint8

// The bodies.
const (
	NoBody   Body = iota
	JSONBody      // a JSON object, read whole
	FormBody      // multipart/form-data, streamed; or a JSON object
	AnyBody       // whatever the client sends, streamed
)

// ops is the table. Paths are the backends' own: a few engines know theirs
// without /v1 only. That of OpGetModel is followed by the model's id.
var ops = [NumOps]struct {
	name, path string
	body       Body
}{
	OpUnknown:              {"other", "", NoBody},
	OpChatCompletions:      {"chat_completions", "/v1/chat/completions", JSONBody},
	OpCompletions:          {"completions", "/v1/completions", JSONBody},
	OpResponses:            {"responses", "/v1/responses", JSONBody},
	OpEmbeddings:           {"embeddings", "/v1/embeddings", JSONBody},
	OpModerations:          {"moderations", "/v1/moderations", JSONBody},
	OpListModels:           {"models", "/v1/models", NoBody},
	OpGetModel:             {"model", "/v1/models/", NoBody},
	OpSpeech:               {"speech", "/v1/audio/speech", JSONBody},
	OpImageGenerations:     {"image_generations", "/v1/images/generations", JSONBody},
	OpRerank:               {"rerank", "/v1/rerank", JSONBody},
	OpScore:                {"score", "/v1/score", JSONBody},
	OpClassify:             {"classify", "/classify", JSONBody},
	OpPooling:              {"pooling", "/pooling", JSONBody},
	OpTokenize:             {"tokenize", "/tokenize", JSONBody},
	OpDetokenize:           {"detokenize", "/detokenize", JSONBody},
	OpResponsesCompact:     {"responses_compact", "/v1/responses/compact", JSONBody},
	OpResponsesInputTokens: {"responses_input_tokens", "/v1/responses/input_tokens", JSONBody},
	OpMessages:             {"messages", "/v1/messages", JSONBody},
	OpMessagesCountTokens:  {"messages_count_tokens", "/v1/messages/count_tokens", JSONBody},
	OpTranscriptions:       {"transcriptions", "/v1/audio/transcriptions", FormBody},
	OpTranslations:         {"translations", "/v1/audio/translations", FormBody},
	OpImageEdits:           {"image_edits", "/v1/images/edits", FormBody},
	OpImageVariations:      {"image_variations", "/v1/images/variations", FormBody},
	OpVideos:               {"videos", "/v1/videos", FormBody},
	OpPassthrough:          {"passthrough", "", AnyBody},
	OpRealtime:             {"realtime", "/v1/realtime", NoBody},
	OpResponsesSocket:      {"responses_socket", "/v1/responses", NoBody},
}

// String returns the operation's name as metrics and logs write it.
func (o Op) String() string {
	if o >= NumOps {
		return ops[OpUnknown].name
	}
	return ops[o].name
}

// Path returns the operation's path on a backend, below its host; empty where
// each request brings its own.
func (o Op) Path() string {
	if o >= NumOps {
		return ""
	}
	return ops[o].path
}

// Body returns what the operation's requests carry.
func (o Op) Body() Body {
	if o >= NumOps {
		return NoBody
	}
	return ops[o].body
}

// Understood reports whether the router reads the operation's answers: their
// usage, and where a stream of them ends.
func (o Op) Understood() bool { return OpChatCompletions <= o && o <= OpModerations }

// Generates reports whether the operation's answers are made of tokens whose
// number the request may bound.
func (o Op) Generates() bool {
	switch o {
	case OpChatCompletions, OpCompletions, OpResponses, OpResponsesSocket, OpMessages:
		return true
	}
	return false
}

// CanStream reports whether the operation answers with server-sent events when
// the body says "stream": true.
func (o Op) CanStream() bool {
	return o == OpChatCompletions || o == OpCompletions || o == OpResponses
}
