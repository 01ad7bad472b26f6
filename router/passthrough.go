package router

import (
	"bytes"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/formdata"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file is the walk of a request that no model decides: its path has a prefix
// of the passthrough list, and goes to that one's pool as it is. Whose the objects
// are that it names stands in objects.go.

// passthroughMethods are what such a request may be.
var passthroughMethods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// method returns the request's method as one of passthroughMethods; "" for others.
func (e *Exchange) method() string {
	for _, m := range passthroughMethods {
		if string(e.conn.head.Method()) == m {
			return m
		}
	}
	return ""
}

// takePrefix makes the request one of a prefix, if one takes the place.
func (e *Exchange) takePrefix(p place) bool {
	if p.model != nil && p.op != helixflow.OpGetModel { // of Azure's deployments
		return false
	}
	b, ok := e.snap.findPrefix(p.clean)
	if !ok {
		return false
	}
	e.op, e.below = helixflow.OpPassthrough, b
	return true
}

// passOn walks the request to its answer.
func (e *Exchange) passOn() error {
	if err := e.begunPassing(); err != nil {
		return err
	}
	if err := e.takeAnyBody(); err != nil {
		return err
	}
	return e.passBody()
}

// passesWithoutModel makes a request of a prefix of one for which a model would
// have decided, but that names none.
func (e *Exchange) passesWithoutModel() bool {
	return !e.op.Understood() && e.takePrefix(place{op: e.op, clean: []byte(e.op.Path())})
}

// passWithoutModel is passOn of a request whose body was taken in already.
func (e *Exchange) passWithoutModel() error {
	if err := e.authorize(); err != nil { // for what it turned out to be
		return err
	}
	if err := e.begunPassing(); err != nil {
		return err
	}
	return e.passBody()
}

// begunPassing finds the request's route, and whether its path names only what is
// the tenant's.
func (e *Exchange) begunPassing() error {
	e.call = openai.Call{} // nothing of it decides, or is of this request
	e.name = e.below.prefix.name
	e.bodyRead = e.began
	return e.checkPath()
}

// takeAnyBody takes in the body: JSON whole, anything else as it comes.
func (e *Exchange) takeAnyBody() error {
	c := e.conn
	method := e.method()
	switch ct := c.head.ContentType(); {
	case method == "GET" || method == "HEAD":
		return nil // what comes with it has no meaning, and is not sent
	case c.body.Finish(): // none
		if method != "DELETE" {
			e.body = buf.Get(0) // whose length is said
		}
		return nil
	case len(ct) == 0 || isJSON(ct):
		return e.readBody()
	case formdata.IsForm(ct):
		return e.takeUpload(true)
	case isMedia(ct, "application/x-www-form-urlencoded"), hasPrefixFold(ct, "multipart/"):
		return errFormEncoding // its fields would pass unseen
	default:
		return e.takeUpload(false)
	}
}

// takeUpload begins to take in what is not JSON.
func (e *Exchange) takeUpload(isForm bool) error {
	if err := e.checkEncoding(); err != nil {
		return err
	}
	u, err := e.openUpload(isForm, "")
	if err != nil {
		return err
	}
	if err := u.readAhead(); err != nil {
		return err
	}
	e.bodyRead = time.Now()
	if !isForm && openai.LikeJSON(u.head.B) {
		return errHiddenJSON
	}
	return nil
}

// passBody checks what the body names, as far as it is here, and gets the answer.
func (e *Exchange) passBody() error {
	if e.body != nil && len(e.body.B) > 0 {
		e.bytesIn = int64(len(e.body.B))
		if err := openai.CheckJSON(e.body.B); err != nil {
			return err
		}
		if err := openai.References(e.body.B, e.checkReference); err != nil {
			return err
		}
	}
	if err := e.checkHeld(); err != nil {
		return err
	}
	if err := e.admitPassed(); err != nil {
		return err
	}
	return e.forward()
}

// once reports whether the request must not be sent twice: it may make something.
func (e *Exchange) once() bool {
	if e.op != helixflow.OpPassthrough {
		return false
	}
	m := e.method()
	return m != "GET" && m != "HEAD"
}

// isJSON reports whether a content type is one of JSON's.
func isJSON(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	return isMedia(contentType, "application/json") || isMedia(contentType, "text/json") ||
		bytes.HasSuffix(bytes.ToLower(bytes.TrimSpace(media)), []byte("+json"))
}

func isMedia(contentType []byte, media string) bool {
	name, _, _ := bytes.Cut(contentType, []byte(";"))
	return bytes.EqualFold(bytes.TrimSpace(name), []byte(media))
}
