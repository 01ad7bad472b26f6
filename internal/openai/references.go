// References: the ids of stored objects that a request's body names.

package openai

import "bytes"

// References calls visit for each string in body, a sound JSON value, that names
// an object which a backend keeps, and for "model" at the top; param is the key
// it stands under, where that is one of OpenAI's own, else "". An error of visit
// ends it. id is borrowed for the call.
//
// What names an object: any string, alone or in arrays, under a key that OpenAI's
// API has for that (file_id, vector_store_ids, container, …); the id of an
// item_reference; and strings that begin as OpenAI's ids do (file-, vs_, …) under
// any key that is id, file, files or ends in _id, _ids, _file or _files. Case does
// not matter in keys, nor do escapes anywhere. What is the caller's own is left
// alone: metadata, attributes, JSON schemas, the annotations and results of earlier
// answers.
func References(body []byte, visit func(param string, id []byte) error) error {
	r := references{walker: walker{b: body}, visit: visit}
	r.value(noReference, "", true)
	return r.err
}

// Conversation calls visit for each id in v, the sound value of "conversation": a
// string, or an object that has it under "id".
func Conversation(v []byte, visit func(id []byte) error) error {
	r := references{walker: walker{b: v}, visit: func(_ string, id []byte) error { return visit(id) }}
	if r.peek() == '"' {
		r.value(sureReference, "", false)
		return r.err
	}
	for more := r.enter('{'); more && r.err == nil; more = r.more('{') {
		class, param := noReference, ""
		if r.classify(r.key(), &class, &param) == idKey {
			class = sureReference
		}
		r.value(class, "", false)
	}
	return r.err
}

// CheckJSON returns an error if body is not one JSON value of less than 2 GiB,
// in the exact grammar of RFC 8259 and nested at most 512 deep.
func CheckJSON(body []byte) error {
	if err := checkLength(len(body)); err != nil {
		return err
	}
	end, why := skipValue(body, 0)
	if why != sound {
		return syntaxError(end, why)
	}
	if end = skipSpace(body, end); end < len(body) {
		return trailing(end)
	}
	return nil
}

// LikeJSON reports whether a body that says it is something else begins as JSON
// does, in whatever encoding: some servers would read it.
func LikeJSON(b []byte) bool {
	b = bytes.TrimLeft(b, "\x00\xef\xbb\xbf\xfe\xff \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// referenceClass is what strings under a key are.
type referenceClass uint8

const (
	noReference      referenceClass = iota
	perhapsReference                // if it looks like one
	sureReference
)

type references struct {
	walker
	visit   func(param string, id []byte) error
	err     error
	scratch [maxReference]byte
}

const (
	maxReference    = 512 // bytes of an id; a longer one is visited as written
	maxReferenceKey = 40
)

// value steps over a value that stands under a key of this class.
func (r *references) value(class referenceClass, param string, top bool) {
	switch r.peek() {
	case '{':
		r.object(top)
	case '[':
		for more := r.enter('['); more; more = r.more('[') {
			r.value(class, param, false)
		}
	default:
		v := r.walker.value()
		if class != noReference && !r.bad && r.b[v.Start] == '"' {
			r.name(class, param, Span{v.Start + 1, v.End - 1})
		}
	}
	if r.err != nil {
		r.fail()
	}
}

func (r *references) object(top bool) {
	var kind, id Span
	for more := r.enter('{'); more; more = r.more('{') {
		key := r.key()
		class, param := noReference, ""
		switch r.classify(key, &class, &param) {
		case ownKey:
			r.walker.value()
			continue
		case modelKey:
			if top {
				class = sureReference
			}
		case typeKey:
			kind = r.stringAt()
		case idKey:
			id = r.stringAt()
		}
		r.value(class, param, false)
	}
	if id.Present() && string(r.decoded(kind)) == "item_reference" && r.err == nil {
		r.name(sureReference, "input", id)
	}
}

// stringAt is the content of the string that comes next; absent if none does.
func (r *references) stringAt() Span {
	if r.peek() != '"' {
		return Span{}
	}
	end, why := skipString(r.b, r.i+1)
	if why != sound {
		return Span{}
	}
	return Span{int32(r.i + 1), int32(end - 1)}
}

// name visits the string at v if it names something.
func (r *references) name(class referenceClass, param string, v Span) {
	id := r.decoded(v)
	if len(id) > 0 && (class == sureReference || likeID(id)) {
		r.err = r.visit(param, id)
	}
}

// decoded is a string's content; as written if it has no room decoded.
func (r *references) decoded(v Span) []byte {
	raw := v.In(r.b)
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	if id, ok := unescape(r.scratch[:0:maxReference], raw); ok {
		return id
	}
	return raw
}

// keyKind is what else a key is.
type keyKind uint8

const (
	plainKey keyKind = iota
	ownKey           // what is below it is the caller's own
	modelKey
	typeKey
	idKey
)

// classify tells what a key means.
func (r *references) classify(key []byte, class *referenceClass, param *string) keyKind {
	var room [maxReferenceKey]byte
	key = foldKey(room[:0], r.unescaped(key))
	switch string(key) {
	case "metadata", "attributes", "parameters", "schema", "json_schema", "input_schema", "annotations", "results":
		return ownKey
	case "model":
		*param = "model"
		return modelKey
	case "type":
		return typeKey
	case "id":
		*class = perhapsReference
		return idKey
	case "tool_call_id", "call_id":
		return plainKey
	}
	if name := sureKey(key); name != "" {
		*class, *param = sureReference, name
	} else if string(key) == "file" || string(key) == "files" || hasAnySuffix(key) {
		*class = perhapsReference
	}
	return plainKey
}

// unescaped is a key's content decoded; as written if it has no room.
func (r *references) unescaped(key []byte) []byte {
	if bytes.IndexByte(key, '\\') < 0 {
		return key
	}
	if plain, ok := unescape(r.scratch[:0:maxReference], key); ok {
		return plain
	}
	return key
}

// sureKey returns the key if OpenAI's API has it for an id, or for several.
func sureKey(key []byte) string {
	switch string(key) {
	case "file_id":
		return "file_id"
	case "file_ids":
		return "file_ids"
	case "input_file_id":
		return "input_file_id"
	case "training_file":
		return "training_file"
	case "validation_file":
		return "validation_file"
	case "vector_store_id":
		return "vector_store_id"
	case "vector_store_ids":
		return "vector_store_ids"
	case "container":
		return "container"
	case "container_id":
		return "container_id"
	case "assistant_id":
		return "assistant_id"
	case "thread_id":
		return "thread_id"
	case "previous_response_id":
		return "previous_response_id"
	case "conversation":
		return "conversation"
	}
	return ""
}

func hasAnySuffix(key []byte) bool {
	for _, suffix := range [...]string{"_id", "_ids", "_file", "_files"} {
		if len(key) > len(suffix) && string(key[len(key)-len(suffix):]) == suffix {
			return true
		}
	}
	return false
}

// idRoots are how ids of OpenAI's objects begin, up to a dash or an underscore.
var idRoots = [...]string{
	"file", "cfile", "vs", "batch", "resp", "conv", "asst", "thread", "cntr", "upload", "ftjob", "video", "skill",
}

// likeID reports whether a string looks like the id of a stored object.
func likeID(s []byte) bool {
	for _, root := range idRoots {
		n := len(root)
		if len(s) > n+1 && string(s[:n]) == root && (s[n] == '-' || s[n] == '_') {
			return true
		}
	}
	return false
}

// foldKey appends key to dst as a parser sees it that ignores case the way
// encoding/json does; a key that has no room there is none that matters.
func foldKey(dst, key []byte) []byte {
	for len(key) > 0 {
		c, size := rune(key[0]), 1
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case bytes.HasPrefix(key, []byte("\u017f")): // long s
			c, size = 's', 2
		case bytes.HasPrefix(key, []byte("\u212a")): // Kelvin sign
			c, size = 'k', 3
		}
		if len(dst) == cap(dst) {
			return dst[:0]
		}
		dst = append(dst, byte(c))
		key = key[size:]
	}
	return dst
}

// FormReference is References of a form's field: what its value is, as name and
// whether it names an object.
func FormReference(name, value []byte) (param string, names bool) {
	var room [maxReferenceKey]byte
	key := foldKey(room[:0], lastPart(name))
	if string(key) == "model" {
		return "model", len(value) > 0
	}
	if param = sureKey(key); param != "" {
		return param, len(value) > 0
	}
	if string(key) == "id" || string(key) == "file" || string(key) == "files" || hasAnySuffix(key) {
		return "", likeID(value)
	}
	return "", false
}

// lastPart is the key of a field whose name says a path: vector_store_ids of
// tools[0][vector_store_ids][].
func lastPart(name []byte) []byte {
	for {
		inner, ok := bytes.CutSuffix(name, []byte("]"))
		if !ok {
			return name
		}
		i := bytes.LastIndexByte(inner, '[')
		if i < 0 {
			return name
		}
		if part := inner[i+1:]; len(bytes.Trim(part, "0123456789")) > 0 {
			return part
		}
		name = inner[:i]
	}
}
