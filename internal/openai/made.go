// Made: the ids of the objects that an answer tells of.

package openai

import "bytes"

// maxMade is how many of them are taken from one answer.
const maxMade = 32

// Made is where ids stand in an answer. A plain value.
type Made struct {
	n   int
	ids [maxMade]Span
}

// Spans returns the places of the ids' contents, in their order.
func (m *Made) Spans() []Span { return m.ids[:m.n] }

func (m *Made) add(v Span) {
	if m.n < maxMade && v.Present() {
		m.ids[m.n] = v
		m.n++
	}
}

// ReadID returns where the "id" at the top of an answer stands; absent if there is
// none. The body may be cut behind it.
func ReadID(body []byte) Span {
	r := madeReader{walker: walker{b: body}}
	for more := r.enter('{'); more; more = r.more('{') {
		if string(r.key()) == "id" {
			return r.text()
		}
		r.value()
	}
	return Span{}
}

// MessageHead is what the beginning of a websocket's message says. A plain value.
type MessageHead struct {
	Type     Span // content of "type"; absent if it does not stand there
	Response Span // content of the "id" of a Response object; absent likewise
}

// Ends reports whether the message may be one that ends a response, of Responses or
// of Realtime. Of those that do not say what they are those may that have a Response.
func (h *MessageHead) Ends(head []byte) bool {
	if h.Type.Present() {
		return endsResponse(h.Type.In(head))
	}
	return h.Response.Present()
}

// ReadMessageHead reads what a message of a backend's websocket begins with: it may
// be cut anywhere.
func ReadMessageHead(head []byte) (h MessageHead) {
	r := madeReader{walker: walker{b: head}}
	for more := r.enter('{'); more; more = r.more('{') {
		switch key := r.key(); {
		case string(key) == "type":
			h.Type = r.text()
		case string(key) == "response" && r.peek() == '{':
			for more := r.enter('{'); more; more = r.more('{') {
				if string(r.key()) == "id" && !h.Response.Present() {
					h.Response = r.text()
					continue
				}
				r.value()
			}
		default:
			r.value()
		}
	}
	return h
}

// ReadMade reads which objects the body of an answer from a collection of OpenAI's
// (batches, responses, …) tells of that its backend has made: the "id" at its top,
// if the request was one that makes; of runs the thread, of batches and fine-tuning
// jobs what came of them, of uploads the file, and of responses the items and
// containers of the output. All of these are the backend's own words: what a client
// can put into such an answer is checked in its request (References) or not read
// here. The body may be cut; what stands before the cut is read. It does not
// allocate.
func ReadMade(body []byte, collection string, makes bool) Made {
	r := madeReader{walker: walker{b: body}}
	for more := r.enter('{'); more; more = r.more('{') {
		switch key := r.key(); {
		case string(key) == "id" && makes:
			r.out.add(r.text())
		default:
			r.member(collection, key)
		}
	}
	return r.out
}

type madeReader struct {
	walker
	out Made
}

// member reads a member of an object of the collection, as far as it names what
// was made.
func (r *madeReader) member(collection string, key []byte) {
	switch collection {
	case "threads", "runs":
		if string(key) == "thread_id" {
			r.out.add(r.text())
			return
		}
	case "batches":
		if string(key) == "output_file_id" || string(key) == "error_file_id" {
			r.out.add(r.text())
			return
		}
	case "jobs":
		switch string(key) {
		case "fine_tuned_model":
			r.out.add(r.text())
			return
		case "result_files":
			r.resultFiles()
			return
		}
	case "uploads":
		if string(key) == "file" {
			r.members("id", "id")
			return
		}
	case "responses":
		if string(key) == "output" {
			r.items()
			return
		}
	}
	r.value()
}

// text steps over a value and returns the place of its content if it is a plain
// string that is not empty.
func (r *madeReader) text() Span {
	v := r.value()
	if r.bad || r.b[v.Start] != '"' || v.Len() == 2 || skipText(r.b, int(v.Start)+1) != int(v.End)-1 {
		return Span{}
	}
	return Span{v.Start + 1, v.End - 1}
}

// members takes the strings under two keys of an object.
func (r *madeReader) members(a, b string) {
	if r.peek() != '{' {
		r.value()
		return
	}
	for more := r.enter('{'); more; more = r.more('{') {
		if key := r.key(); string(key) == a || string(key) == b {
			r.out.add(r.text())
			continue
		}
		r.value()
	}
}

func (r *madeReader) resultFiles() {
	if r.peek() != '[' {
		r.value()
		return
	}
	for more := r.enter('['); more; more = r.more('[') {
		r.out.add(r.text())
	}
}

// items reads a response's output.
func (r *madeReader) items() {
	if r.peek() != '[' {
		r.value()
		return
	}
	for more := r.enter('['); more; more = r.more('[') {
		r.members("id", "container_id")
	}
}

// CreatedData returns the data of an event of a stream that says that something
// was created; nil if it does not.
func CreatedData(ev []byte) []byte {
	f := fields(ev)
	if f.multiple || !bytes.HasSuffix(f.name.In(ev), []byte(".created")) {
		return nil
	}
	return f.data.In(ev)
}
