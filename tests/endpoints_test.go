package tests

import (
	"fmt"
	"strings"

	"github.com/helixflow/helixflow"
)

// endpointsPage is made of the table of operations.
func endpointsPage() string {
	var b strings.Builder
	b.WriteString(`# Endpoints

What a client may call below the base URL, and what the router does with it. Paths may be written
with or without ` + "`/v1`" + `, with stray slashes, and as Azure's clients write them: ` + "`/openai/v1/…`" + ` is
` + "`/v1/…`" + `, and ` + "`/openai/deployments/{model}/…?api-version=…`" + ` names the model in its path, which then
takes the place of the body's. ` + "`OPTIONS`" + ` tells the methods of a path and asks for no key.

`)
	section := func(title, text string, body helixflow.Body, in func(helixflow.Op) bool) {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n| method | path | on the backend | metrics' `endpoint` |\n|---|---|---|---|\n", title, text)
		for op := helixflow.OpUnknown + 1; op < helixflow.NumOps; op++ {
			if op.Body() == body && in(op) {
				fmt.Fprintf(&b, "| %s | `%s` | `%s` | `%s` |\n", method(op), publicPath(op), op.Path(), op)
			}
		}
		b.WriteString("\n")
	}
	section("Understood", "Routed by `model`; usage is metered, streams end properly or with an error, `params` apply. A moderation without a\nmodel means `omni-moderation-latest`.",
		helixflow.JSONBody, helixflow.Op.Understood)
	section("Routed by the model in a JSON body", "Passed on as they are, but for the model's name. The answer may be JSON, server-sent events, or bytes such as audio,\nwhich reach the client as they come.",
		helixflow.JSONBody, func(op helixflow.Op) bool { return !op.Understood() })
	section("Routed by the model in a form", "Forms (`multipart/form-data`) are streamed in constant memory, up to `server.max_upload`, wherever their `model` field\nstands; those that are JSON are as above. A form that two parsers could read differently is refused, and so is one with\ntwo models, a model that is a file, or more than 1000 parts.",
		helixflow.FormBody, func(helixflow.Op) bool { return true })
	b.WriteString("## Websockets\n\nOff unless `passthrough` lists the path. [Realtime and other websockets](../how-to/realtime.md) tells the rest.\n\n| path | the model | metrics' `endpoint` |\n|---|---|---|\n")
	fmt.Fprintf(&b, "| `%s?model=…` | in the query | `%s` |\n", helixflow.OpRealtime.Path(), helixflow.OpRealtime)
	fmt.Fprintf(&b, "| `%s` | in the first message | `%s` |\n\n", helixflow.OpResponsesSocket.Path(), helixflow.OpResponsesSocket)
	b.WriteString("## Answered by the router\n\n| method | path | answer |\n|---|---|---|\n")
	b.WriteString("| GET, HEAD | `/v1/models` | the names of the configuration that the key may use; with the model `*` those of its backend too |\n")
	b.WriteString("| GET, HEAD | `/v1/models/{id}` | one of them; `/` and `:` in an id may be escaped |\n\n")
	b.WriteString(`## Passed on by their prefix

Off unless listed under ` + "`passthrough`" + ` with a pool; [how](../how-to/files.md). A prefix takes what stands nowhere above: another
path, another method, or a path routed by a model whose request names none, but for those that are understood. Methods:
GET, HEAD, POST, PUT, PATCH, DELETE. Ids must be the tenant's. Metrics' ` + "`endpoint`" + ` is ` + "`passthrough`" + `.

| prefix | what is there |
|---|---|
| ` + "`/v1/files`, `/v1/uploads`" + ` | files, whole or in parts |
| ` + "`/v1/batches`" + ` | batches; their output is a file |
| ` + "`/v1/responses`, `/v1/conversations`" + ` | stored responses (read, cancel, delete, input items) and conversations |
| ` + "`/v1/vector_stores`" + ` | vector stores, their files and searches |
| ` + "`/v1/fine_tuning`, `/v1/models`" + ` | fine-tuning jobs; DELETE of a model |
| ` + "`/v1/containers`" + ` | containers and the files in them |
| ` + "`/v1/assistants`, `/v1/threads`" + ` | assistants, threads, runs |
| ` + "`/v1/videos`" + ` | videos, by their ids |
| ` + "`/v1/evals`, `/v1/skills`, `/v1/chat/completions`, …" + ` | and any other path, an engine's own included |

`)
	b.WriteString(`## Not served

| path | answer |
|---|---|
| ` + "`/v1/organization…`, `/v1/projects…`" + `, unless a prefix names them | 403 ` + "`path_forbidden`" + `: they administer an account, and its keys have no business behind a shared router |
| anything else, paths with dot segments or escapes of what needs none, or of slashes | 404 ` + "`unknown_url`" + ` |
`)
	return b.String()
}

func method(op helixflow.Op) string {
	if op.Body() == helixflow.NoBody {
		return "GET"
	}
	return "POST"
}

// publicPath is an operation's path as clients know it.
func publicPath(op helixflow.Op) string {
	if strings.HasPrefix(op.Path(), "/v1/") {
		return op.Path()
	}
	return "/v1" + op.Path()
}
