package websocket

// Follower keeps account of the frames of one direction while their bytes pass,
// so that others can be put between two of them. The zero Follower stands before
// the first frame of a server.
type Follower struct {
	FromClient bool // frames must be masked; else they must not be

	left   int64 // bytes of the payload still to come
	frame  Header
	open   bool // a message has begun, and its last fragment has not ended
	closed bool
	status [2]byte // of the close frame
}

// Follow looks at the next bytes. The first n of them may pass: all, but for a
// header at the end that is not whole yet, which must be shown again together with
// what follows; and what comes behind a close frame. Behind the first end of them
// lies the end of the last whole frame, 0 if none ends here. After an error, which
// is about the header behind the first n, there is no following any more.
func (f *Follower) Follow(p []byte) (n, end int, err error) {
	for n < len(p) && !f.closed {
		if f.left == 0 {
			h, size, err := ParseHeader(p[n:])
			switch {
			case err != nil:
				return n, end, err
			case size == 0:
				return n, end, nil
			case h.Masked != f.FromClient:
				return n, end, ErrMask
			}
			f.frame, f.left = h, h.Length
			n += size
		}
		step := int(min(f.left, int64(len(p)-n)))
		f.note(p[n : n+step])
		n += step
		if f.left -= int64(step); f.left == 0 {
			end = n
			f.closed = f.frame.Opcode == Close
			if !f.frame.Opcode.IsControl() {
				f.open = !f.frame.Final
			}
		}
	}
	return n, end, nil
}

// note keeps the status of a close frame, whose payload may come in pieces.
func (f *Follower) note(p []byte) {
	if f.frame.Opcode != Close {
		return
	}
	at := f.frame.Length - f.left
	for i := 0; i < len(p) && at+int64(i) < int64(len(f.status)); i++ {
		f.status[at+int64(i)] = p[i]
		if f.frame.Masked {
			f.status[at+int64(i)] ^= f.frame.Key[(at+int64(i))&3]
		}
	}
}

// Left is how many bytes of the present frame's payload are still to come; 0
// between two frames.
func (f *Follower) Left() int64 { return f.left }

// Skip says that n of the bytes that are left passed unseen; some must be left.
func (f *Follower) Skip(n int64) {
	if f.left -= n; f.left <= 0 {
		panic("BUG: skipped the end of a frame")
	}
}

// Open reports whether the last frame that ended was a fragment and more of its
// message is to come: then only control frames may be put behind it.
func (f *Follower) Open() bool { return f.open }

// Closed reports whether a close frame has passed: the last one.
func (f *Follower) Closed() bool { return f.closed }

// Status is the code of the close frame that passed; StatusNone where it had none.
func (f *Follower) Status() int {
	if f.frame.Length < int64(len(f.status)) {
		return StatusNone
	}
	return CloseStatus(f.status[:])
}
