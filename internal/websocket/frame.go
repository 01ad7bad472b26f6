package websocket

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
)

// This file reads and writes frames (RFC 6455, section 5).

// Opcode says what a frame is.
type Opcode uint8

// The opcodes. Those that are not here are reserved.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa
)

// IsControl reports whether frames of this kind may stand between the fragments
// of a message.
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// IsKnown reports whether the RFC gives the opcode a meaning.
func (o Opcode) IsKnown() bool { return o <= Binary || Close <= o && o <= Pong }

// Status codes of close frames (RFC 6455, section 7.4).
const (
	StatusNormal           = 1000
	StatusGoingAway        = 1001
	StatusProtocol         = 1002
	StatusUnsupported      = 1003
	StatusNone             = 1005 // a close frame without a code; never sent
	StatusInvalidUTF8      = 1007
	StatusPolicy           = 1008
	StatusTooBig           = 1009
	StatusInternal         = 1011
	StatusTryAgain         = 1013
	maxControl             = 125
	maxCloseReason         = maxControl - 2
	MaxHeader              = 14 // bytes of a frame in front of its payload
	bitFinal          byte = 0x80
	bitMask           byte = 0x80
	bitsReserved      byte = 0x70
	bitsOpcode        byte = 0x0f
	length16               = 126
	length64               = 127
)

// Broken frames. After one of them nobody knows where the next one begins.
var (
	ErrLength  = errors.New("a frame's length is above 2^63-1")
	ErrControl = errors.New("a control frame is fragmented or longer than 125 bytes")
	ErrMask    = errors.New("a client's frame is not masked, or a server's is")
)

// Header is what a frame begins with.
type Header struct {
	Final    bool
	Reserved byte // the three bits that extensions give a meaning, in place
	Opcode   Opcode
	Masked   bool
	Key      [4]byte
	Length   int64 // of the payload
}

// ParseHeader reads the header that p begins with. size is its length in bytes, 0
// if p ends before it does.
func ParseHeader(p []byte) (h Header, size int, err error) {
	if len(p) < 2 {
		return h, 0, nil
	}
	h.Final, h.Reserved, h.Opcode = p[0]&bitFinal != 0, p[0]&bitsReserved, Opcode(p[0]&bitsOpcode)
	h.Masked = p[1]&bitMask != 0
	size = 2
	switch n := p[1] &^ bitMask; n {
	case length16:
		size += 2
	case length64:
		size += 8
	default:
		h.Length = int64(n)
	}
	key := size
	if h.Masked {
		size += len(h.Key)
	}
	if len(p) < size {
		return Header{}, 0, nil
	}
	switch key {
	case 4:
		h.Length = int64(binary.BigEndian.Uint16(p[2:]))
	case 10:
		if h.Length = int64(binary.BigEndian.Uint64(p[2:])); h.Length < 0 {
			return Header{}, 0, ErrLength
		}
	}
	if h.Masked {
		copy(h.Key[:], p[key:])
	}
	if h.Opcode.IsControl() && (!h.Final || h.Length > maxControl) {
		return Header{}, 0, ErrControl
	}
	return h, size, nil
}

// AppendTo appends the header in its shortest form.
func (h *Header) AppendTo(dst []byte) []byte {
	first, mask := h.Reserved|byte(h.Opcode), byte(0)
	if h.Final {
		first |= bitFinal
	}
	if h.Masked {
		mask = bitMask
	}
	switch {
	case h.Length <= maxControl:
		dst = append(dst, first, mask|byte(h.Length))
	case h.Length < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, mask|length16), uint16(h.Length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, mask|length64), uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Key[:]...)
	}
	return dst
}

// Mask masks p, or takes the mask off, in place; p begins at this offset of its
// frame's payload.
func Mask(p []byte, key [4]byte, offset int64) {
	var turned [8]byte
	for i := range turned {
		turned[i] = key[(offset+int64(i))&3]
	}
	wide := binary.LittleEndian.Uint64(turned[:])
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
	}
	for i := range p {
		p[i] ^= turned[i]
	}
}

// NewKey returns a key to mask a frame with, which nobody can guess.
func NewKey() (key [4]byte) {
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	return key
}

// AppendFrame appends a whole frame, masked as clients must.
func AppendFrame(dst []byte, op Opcode, payload []byte, masked bool) []byte {
	h := Header{Final: true, Opcode: op, Masked: masked, Length: int64(len(payload))}
	if masked {
		h.Key = NewKey()
	}
	dst = h.AppendTo(dst)
	begin := len(dst)
	dst = append(dst, payload...)
	if masked {
		Mask(dst[begin:], h.Key, 0)
	}
	return dst
}

// AppendClose appends a close frame. A reason that is too long for one is cut.
func AppendClose(dst []byte, status int, reason string, masked bool) []byte {
	var payload [maxControl]byte
	binary.BigEndian.PutUint16(payload[:], uint16(status))
	n := 2 + copy(payload[2:], reason[:min(len(reason), maxCloseReason)])
	return AppendFrame(dst, Close, payload[:n], masked)
}

// ValidStatus reports whether a close frame may carry this status: one that the RFC
// or its registry defines, or of the range for applications.
func ValidStatus(status int) bool {
	switch {
	case status == 1004, status == StatusNone, status == 1006, status == 1015:
		return false
	default:
		return 1000 <= status && status <= 1014 || 3000 <= status && status <= 4999
	}
}

// CloseStatus is the status in a close frame's payload; StatusNone where there is
// none.
func CloseStatus(payload []byte) int {
	if len(payload) < 2 {
		return StatusNone
	}
	return int(binary.BigEndian.Uint16(payload))
}
