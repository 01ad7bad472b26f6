package router

import (
	"bytes"
	"net/url"
	"strconv"

	"github.com/helixflow/helixflow"
)

// This file answers which operation a path names, in the spellings that clients
// are known to send: with and without /v1, with stray slashes, and below Azure's
// prefixes.

// place is what a path names.
type place struct {
	op    helixflow.Op
	model []byte // decoded: the id of OpGetModel, or the deployment of Azure's paths
	clean []byte // the path in its one spelling, which begins with /v1 where it names an operation
}

// operations is the table of paths without their /v1.
var operations = func() map[string]helixflow.Op {
	m := map[string]helixflow.Op{"/v2/rerank": helixflow.OpRerank}
	for op := helixflow.OpUnknown + 1; op < helixflow.OpPassthrough; op++ {
		if op != helixflow.OpGetModel {
			m[string(withoutVersion([]byte(op.Path())))] = op
		}
	}
	return m
}()

// find answers what a raw path names; an unknown operation still has its clean
// path. A path that is spelled as documented is found without an allocation.
func find(path []byte) place {
	if op := operations[string(withoutVersion(path))]; op != helixflow.OpUnknown {
		return place{op: op, clean: path}
	}
	path = tidy(path)
	if rest, ok := bytes.CutPrefix(path, []byte("/openai/deployments/")); ok {
		return findDeployment(rest)
	}
	if rest, ok := bytes.CutPrefix(path, []byte("/openai/")); ok {
		path = append([]byte("/v1/"), bytes.TrimPrefix(rest, []byte("v1/"))...)
	}
	rest := withoutVersion(path)
	if op := operations[string(rest)]; op != helixflow.OpUnknown {
		return place{op: op, clean: path}
	}
	if raw, ok := bytes.CutPrefix(rest, []byte("/models/")); ok {
		if id := unescapeID(raw); id != nil {
			return place{op: helixflow.OpGetModel, model: id, clean: path}
		}
	}
	return place{clean: path}
}

// findDeployment reads what follows /openai/deployments/: a model's name, which
// may be escaped, and an operation.
func findDeployment(rest []byte) place {
	raw, below, ok := bytes.Cut(rest, []byte("/"))
	id := unescapeID(raw)
	op := operations["/"+string(below)]
	if !ok || id == nil || op.Body() == helixflow.NoBody {
		return place{}
	}
	return place{op: op, model: id, clean: []byte(op.Path())}
}

// withoutVersion is a path behind its /v1.
func withoutVersion(path []byte) []byte {
	if rest, ok := bytes.CutPrefix(path, []byte("/v1")); ok && len(rest) > 0 && rest[0] == '/' {
		return rest
	}
	return path
}

// tidy is a path without doubled and trailing slashes: itself if it has none.
func tidy(path []byte) []byte {
	if bytes.Contains(path, []byte("//")) {
		once := make([]byte, 0, len(path))
		for i, c := range path {
			if c != '/' || i == 0 || path[i-1] != '/' {
				once = append(once, c)
			}
		}
		path = once
	}
	if n := len(path); n > 1 && path[n-1] == '/' {
		path = path[:n-1]
	}
	return path
}

// administrative reports whether a path is one of OpenAI's for the owners of an
// account: their keys have no business behind a shared router.
func administrative(clean []byte) bool {
	rest := withoutVersion(clean)
	for _, root := range [...]string{"/organization", "/projects"} {
		if below, ok := bytes.CutPrefix(rest, []byte(root)); ok && (len(below) == 0 || below[0] == '/') {
			return true
		}
	}
	return false
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

// withoutParameter takes a parameter out of a query string; the result is the
// query itself if it is not there.
func withoutParameter(query []byte, name string) []byte {
	if !bytes.Contains(query, []byte(name)) {
		return query
	}
	var kept []byte
	for pair := range bytes.SplitSeq(query, []byte("&")) {
		if k, _, _ := bytes.Cut(pair, []byte("=")); string(k) == name {
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, '&')
		}
		kept = append(kept, pair...)
	}
	return kept
}
