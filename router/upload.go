package router

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/formdata"
)

// This file takes in a body that is passed on as it comes: a form, of which as
// much is read beforehand as it takes to find the model, or anything at all. It
// is in memory up to uploadHead, on disk up to the model, and then with the
// client: from there on it can be sent once only.

const (
	uploadWhole = 256 << 10 // a body up to this is read whole, so that it can be sent again
	uploadHead  = 64 << 10  // what is held in memory of a larger one
	uploadPiece = 128 << 10
)

// upload is such a body. It implements backends.Stream.
type upload struct {
	conn  *clientConn
	began time.Time
	until time.Time // the whole exchange's deadline; zero while none is known
	limit int64     // bytes
	form  *formdata.Scanner
	scans bool // it is a form, which is looked through
	model bool // for its model

	head  *buf.Buffer // what came first
	spool spool       // what came then, before the model was found
	taken int64       // bytes read from the client so far
	whole bool        // all of it was read
	live  bool        // pieces were passed on that nobody has any more

	// The model's place in the body, and what is sent instead; nil: nothing.
	at   formdata.Span
	with []byte

	// Where Next stands.
	pos   int64       // offset of rest's first byte
	rest  []byte      // of the piece in hand
	piece *buf.Buffer // what a piece is read into
	sent  bool        // with was lent
}

var uploads = sync.Pool{New: func() any { return &upload{form: new(formdata.Scanner)} }}

// openUpload begins to take in the request's body. A form is looked through for a
// field, "" for none, and for objects that it names.
func (e *Exchange) openUpload(isForm bool, field string) (*upload, error) {
	c := e.conn
	limit := e.snap.maxUpload
	if c.body.Length() > limit {
		return nil, tooLarge(limit)
	}
	u := uploads.Get().(*upload)
	u.conn, u.began, u.limit, u.scans, u.model = c, e.began, limit, isForm, field != ""
	e.upload = u // whatever happens now, freeRequest closes it
	if isForm {
		if err := u.form.Begin(c.head.ContentType(), field); err != nil {
			return nil, err
		}
		if len(e.snap.prefixes) > 0 {
			u.form.Watch(e.formField)
		}
	}
	if c.wants100 {
		if err := c.continue100(); err != nil {
			return nil, errClientGone
		}
	}
	size := c.body.Length()
	if size < 0 || size > uploadWhole {
		size = uploadHead
	}
	u.head = buf.Get(int(max(size, 1<<10)))
	u.whole = c.body.Finish() // no body at all
	return u, nil
}

// close frees what the upload holds.
func (u *upload) close() {
	if u == nil {
		return
	}
	u.head.Free()
	u.piece.Free()
	u.spool.close()
	*u = upload{form: u.form}
	uploads.Put(u)
}

// readAhead reads the whole body if it is small, else until it is known where it
// goes, at most to the head's end.
func (u *upload) readAhead() error {
	n := u.conn.body.Length()
	small := n >= 0 && n <= uploadWhole
	for !u.whole && len(u.head.B) < cap(u.head.B) {
		if !small && u.routable() {
			return nil
		}
		n, err := u.read(u.head.B[len(u.head.B):cap(u.head.B)])
		u.head.B = u.head.B[:len(u.head.B)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// routable reports whether what was read says where the body goes.
func (u *upload) routable() bool {
	if !u.model || u.whole {
		return true
	}
	_, _, ok := u.form.Field()
	return ok
}

// findModel reads on, onto the disk, until the form's model is found or the form
// ends; nil: it has none.
func (u *upload) findModel(s *Server, most int64) ([]byte, error) {
	for !u.routable() {
		room := u.room()
		n, err := u.read(room)
		if err != nil {
			return nil, err
		}
		if err := u.spool.write(room[:n], s, most); err != nil {
			return nil, &helixflow.Error{Kind: helixflow.KindNoSpool, RetryAfter: retrySoon, Cause: err}
		}
	}
	model, at, _ := u.form.Field()
	u.at = at
	return model, nil
}

// rename has name sent as the form's model; nil sends what the form has.
func (u *upload) rename(name []byte) {
	model, _, ok := u.form.Field()
	switch {
	case name == nil || ok && string(model) == string(name):
		u.with = nil
	case ok:
		u.with = name
	default:
		u.with = u.form.Part("model", name) // before all others, where at is
	}
}

// replayable reports whether the body can be sent once more.
func (u *upload) replayable() bool { return !u.live }

// rewind begins anew.
func (u *upload) rewind() {
	if u.live {
		panic("BUG: sent an upload twice")
	}
	u.pos, u.rest, u.sent = 0, nil, false
}

// Size is the length of what is sent, or -1 if the client does not say.
func (u *upload) Size() int64 {
	n := u.conn.body.Length()
	if u.whole {
		n = u.taken
	}
	if n >= 0 && u.with != nil {
		n += int64(len(u.with)) - (u.at.End - u.at.Start)
	}
	return n
}

// Next lends the following piece of what is sent, or io.EOF.
func (u *upload) Next() ([]byte, error) {
	for {
		if u.with != nil && u.pos == u.at.Start && !u.sent {
			u.sent = true
			return u.with, nil
		}
		if len(u.rest) == 0 {
			if err := u.fill(); err != nil {
				return nil, err
			}
		}
		n := int64(len(u.rest))
		skip := false
		switch {
		case u.with == nil || u.pos >= u.at.End:
		case u.pos >= u.at.Start:
			n, skip = min(n, u.at.End-u.pos), true
		default:
			n = min(n, u.at.Start-u.pos)
		}
		p := u.rest[:n]
		u.rest = u.rest[n:]
		u.pos += n
		if !skip {
			return p, nil
		}
	}
}

// fill takes the piece at pos in hand.
func (u *upload) fill() error {
	head := int64(len(u.head.B))
	switch {
	case u.pos < head:
		u.rest = u.head.B[u.pos:]
		return nil
	case u.pos < head+u.spool.size:
		n, err := u.spool.file.ReadAt(u.room(), u.pos-head)
		if n == 0 {
			return &helixflow.Error{Kind: helixflow.KindInternal, Cause: fmt.Errorf("cannot read a spooled upload: %w", err)}
		}
		u.rest = u.piece.B[:min(int64(n), head+u.spool.size-u.pos)]
		return nil
	case u.whole:
		return io.EOF
	}
	n, err := u.read(u.room())
	if err != nil {
		return err
	}
	if u.whole && n == 0 {
		return io.EOF
	}
	u.live = true
	u.rest = u.piece.B[:n]
	return nil
}

func (u *upload) room() []byte {
	if u.piece == nil {
		u.piece = buf.Get(uploadPiece)
	}
	return u.piece.B[:cap(u.piece.B)]
}

// read takes what comes next from the client; at the body's proper end it sets
// whole. What it returns has been looked through: after an error none of it may
// be passed on.
func (u *upload) read(p []byte) (int, error) {
	c := u.conn
	if !c.body.More() {
		now := time.Now()
		if !fastEnough(int(u.taken), now.Sub(u.began)) || !u.until.IsZero() && !now.Before(u.until) {
			return 0, errBodyTimeout
		}
		c.armRead(now, bodySilence)
	}
	n, err := c.body.Read(p)
	u.taken += int64(n)
	switch {
	case u.taken > u.limit:
		return 0, tooLarge(u.limit)
	case err != nil && err != io.EOF:
		return 0, bodyError(err)
	}
	u.whole = err == io.EOF || c.body.Finish()
	if !u.scans {
		return n, nil
	}
	if err := u.form.Scan(p[:n]); err != nil {
		return 0, err
	}
	if u.whole {
		return n, u.form.Ended()
	}
	return n, nil
}

// spool is a part of a body on disk. The zero spool is empty.
type spool struct {
	file *os.File
	size int64
	srv  *Server
}

var errSpoolFull = errors.New("the uploads on disk have reached server.max_spool")

// write appends p; max bounds what all uploads hold together.
func (s *spool) write(p []byte, srv *Server, max int64) error {
	if s.file == nil {
		f, err := os.CreateTemp(srv.opt.SpoolDir, "helixflow-upload-*")
		if err != nil {
			return fmt.Errorf("cannot spool an upload: %w", err)
		}
		_ = os.Remove(f.Name()) // where a file in use can go, nothing is ever left behind
		s.file, s.srv = f, srv
	}
	if srv.spooled.Add(int64(len(p))) > max {
		srv.spooled.Add(-int64(len(p)))
		return errSpoolFull
	}
	s.size += int64(len(p))
	if _, err := s.file.Write(p); err != nil {
		return fmt.Errorf("cannot spool an upload: %w", err)
	}
	return nil
}

func (s *spool) close() {
	if s.file == nil {
		return
	}
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
	s.srv.spooled.Add(-s.size)
	*s = spool{}
}
