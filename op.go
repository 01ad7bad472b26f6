package helixflow

// Op is an operation of OpenAI's API that the router understands.
type Op uint8

// The operations, in the order of PathOf's table. OpUnknown is the zero value.
const (
	OpUnknown Op = iota
	OpChatCompletions
	OpCompletions
	OpResponses
	OpEmbeddings
	OpModerations
	OpListModels
	OpGetModel
	NumOps // how many there are, for tables indexed by Op
)

var opNames = [NumOps]string{
	OpUnknown:         "other",
	OpChatCompletions: "chat_completions",
	OpCompletions:     "completions",
	OpResponses:       "responses",
	OpEmbeddings:      "embeddings",
	OpModerations:     "moderations",
	OpListModels:      "models",
	OpGetModel:        "model",
}

var opPaths = [NumOps]string{
	OpChatCompletions: "/v1/chat/completions",
	OpCompletions:     "/v1/completions",
	OpResponses:       "/v1/responses",
	OpEmbeddings:      "/v1/embeddings",
	OpModerations:     "/v1/moderations",
	OpListModels:      "/v1/models",
	OpGetModel:        "/v1/models/",
}

// String returns the operation's name as metrics and logs write it.
func (o Op) String() string {
	if o >= NumOps {
		return opNames[OpUnknown]
	}
	return opNames[o]
}

// Path returns the operation's path below the host, with its /v1; that of
// OpGetModel ends in a slash, the model's id follows.
func (o Op) Path() string {
	if o >= NumOps {
		return ""
	}
	return opPaths[o]
}

// CanStream reports whether the operation answers with server-sent events when
// asked to.
func (o Op) CanStream() bool {
	return o == OpChatCompletions || o == OpCompletions || o == OpResponses
}
