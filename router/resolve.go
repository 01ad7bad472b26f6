package router

import (
	"bytes"
	"net/url"
	"strconv"

	"github.com/helixflow/helixflow"
)

// This file answers which operation a path names, and where a model leads.

// operation finds the operation of a raw path, exactly spelled, with or
// without its /v1; the id of OpGetModel is percent-decoded.
func operation(path []byte) (helixflow.Op, []byte) {
	rest := bytes.TrimPrefix(path, []byte("/v1"))
	switch string(rest) {
	case "/chat/completions":
		return helixflow.OpChatCompletions, nil
	case "/completions":
		return helixflow.OpCompletions, nil
	case "/responses":
		return helixflow.OpResponses, nil
	case "/embeddings":
		return helixflow.OpEmbeddings, nil
	case "/moderations":
		return helixflow.OpModerations, nil
	case "/models":
		return helixflow.OpListModels, nil
	}
	if id, ok := bytes.CutPrefix(rest, []byte("/models/")); ok {
		if id = unescapeID(id); id != nil {
			return helixflow.OpGetModel, id
		}
	}
	return helixflow.OpUnknown, nil
}

// unescapeID decodes a model's id, which may hold slashes and colons, once. It
// returns nil for what no id can be: an escaped percent sign, dot segments,
// empty segments, control characters.
func unescapeID(raw []byte) []byte {
	id := raw
	if bytes.IndexByte(raw, '%') >= 0 {
		id = make([]byte, 0, len(raw))
		for i := 0; i < len(raw); i++ {
			c := raw[i]
			if c == '%' {
				if i+2 >= len(raw) {
					return nil
				}
				v, err := strconv.ParseUint(string(raw[i+1:i+3]), 16, 8)
				if err != nil || v == '%' {
					return nil
				}
				c = byte(v)
				i += 2
			}
			id = append(id, c)
		}
	}
	for seg := range bytes.SplitSeq(id, []byte("/")) {
		if len(seg) == 0 || string(seg) == "." || string(seg) == ".." {
			return nil
		}
	}
	for _, c := range id {
		if c < ' ' || c == 0x7f || c == '\\' {
			return nil
		}
	}
	return id
}

// queryKeys are parameters that other APIs take credentials in.
var queryKeys = [...]string{"api_key", "api-key", "apikey", "key", "token", "access_token", "authorization"}

// keyInQuery reports whether a query string holds a credential, in whatever
// spelling.
func keyInQuery(query []byte) bool {
	if bytes.Contains(query, []byte("hfx_")) {
		return true
	}
	for pair := range bytes.SplitSeq(query, []byte("&")) {
		name, _, _ := bytes.Cut(pair, []byte("="))
		if bytes.IndexByte(name, '%') >= 0 {
			if plain, err := url.QueryUnescape(string(name)); err == nil {
				name = []byte(plain)
			}
		}
		for _, k := range queryKeys {
			if len(name) == len(k) && bytes.EqualFold(name, []byte(k)) {
				return true
			}
		}
	}
	return false
}

// defaultModeration is the model OpenAI takes where a moderation names none.
var defaultModeration = []byte("omni-moderation-latest")

// resolve finds the route of the model that the body names, and whether the
// principal may use it.
func (e *Exchange) resolve() error {
	model := e.call.ModelName(e.body.B)
	if len(model) == 0 {
		if e.op != helixflow.OpModerations {
			return errMissingModel
		}
		model = defaultModeration
	}
	if e.srv.access.Load() != nil {
		e.asked.Set(model)
	}
	name, err := e.snap.lookup(model, e.principal)
	if err != nil {
		return err
	}
	e.name = name
	return nil
}
