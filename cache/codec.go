package cache

// The form of an answer outside of this process: it says itself what it is, and is
// believed only if all of it fits.

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/openai"
)

// A value is, in this order, numbers in big endian:
//
//	magic    4 bytes  "hfc2": the version of the form
//	sum      32       SHA-256 of all that follows
//	digest   32       of the key
//	check    8        likewise
//	heard    2 × 8    the last purge that whoever asked had heard of
//	flags    1        stream, compressed
//	sharing  1        of the scope
//	op       1
//	asked, stored, expires   8 each, Unix milliseconds
//	usage    5 × 8    input, cached, output, reasoning tokens; 1 if reported
//	chunk    2 × 4    the place of the usage chunk
//	size     4        of the body, before it was compressed
//	texts    each behind 2 bytes of length: the scope's tenant and key, the tenant, the model, the content type
//	pace     4 bytes of length, then 4 bytes of size and 4 of microseconds for each beat
//	body     the rest
const magic = "hfc2"

const (
	flagStream     = 1 << 0
	flagCompressed = 1 << 1

	compressAbove = 1 << 10
	fixedPart     = len(magic) + sha256.Size*2 + 8 + 2*8 + 3 + 3*8 + 5*8 + 2*4 + 4
)

var errForm = errors.New("cannot read a cached answer: it is not one of this version, or not whole")

// Encoder and decoder keep what they need from value to value; both are safe for
// concurrent use.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxBody), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return d
	})
)

// maxBody is the longest body that any rule keeps.
const maxBody = 64 << 20

// Encode appends a to dst.
func Encode(dst []byte, a *Answer) []byte {
	begin := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, make([]byte, sha256.Size)...) // the sum, when all is there
	dst = append(dst, a.Key.Digest[:]...)
	for _, n := range []uint64{a.Key.Check, a.heard.MS, a.heard.N} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	flags, body := byte(0), a.Body
	if a.Stream {
		flags |= flagStream
	}
	if len(body) > compressAbove {
		flags |= flagCompressed
		body = encoder().EncodeAll(body, nil)
	}
	dst = append(dst, flags, byte(a.Key.Scope.sharing), byte(a.Op))
	for _, t := range []time.Time{a.Asked, a.Stored, a.Expires} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(t.UnixMilli()))
	}
	u := &a.Usage
	reported := int64(0)
	if u.Reported {
		reported = 1
	}
	for _, n := range []int64{u.InputTokens, u.CachedTokens, u.OutputTokens, u.ReasoningTokens, reported} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	for _, n := range []int{int(a.UsageChunk.Start), int(a.UsageChunk.End), len(a.Body)} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	for _, s := range []string{a.Key.Scope.tenant, a.Key.Scope.key, a.Tenant, a.Model, a.ContentType} {
		s = s[:min(len(s), 1<<16-1)]
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(a.Pace)))
	for _, b := range a.Pace {
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.Size))
		dst = binary.BigEndian.AppendUint32(dst, uint32(min(b.After.Microseconds(), 1<<32-1)))
	}
	dst = append(dst, body...)
	sum := sumOf(dst[begin+len(magic)+sha256.Size:])
	copy(dst[begin+len(magic):], sum[:])
	return dst
}

var sums = sync.Pool{New: func() any { return sha256.New() }}

func sumOf(b []byte) (sum Digest) {
	h := sums.Get().(hash.Hash)
	h.Reset()
	h.Write(b)
	h.Sum(sum[:0])
	sums.Put(h)
	return sum
}

// Decode reads what Encode wrote, if it is the answer to k and at most limit bytes
// long. What it returns shares no memory with value.
func Decode(value []byte, k *Key, limit int64) (*Answer, error) {
	if len(value) < fixedPart || string(value[:len(magic)]) != magic {
		return nil, errForm
	}
	rest := value[len(magic):]
	sum := Digest(rest[:sha256.Size])
	rest = rest[sha256.Size:]
	if sumOf(rest) != sum {
		return nil, errForm
	}
	r := reader{b: rest}
	a := &Answer{Key: *k}
	digest, check := Digest(r.take(sha256.Size)), r.uint64()
	a.heard.MS, a.heard.N = r.uint64(), r.uint64()
	flags, sharing := r.byte(), Sharing(r.byte())
	a.Op, a.Stream = helixflow.Op(r.byte()), flags&flagStream != 0
	a.Asked, a.Stored, a.Expires = r.time(), r.time(), r.time()
	a.Usage = helixflow.Usage{InputTokens: r.count(), CachedTokens: r.count(), OutputTokens: r.count(), ReasoningTokens: r.count()}
	a.Usage.Reported = r.count() == 1
	a.UsageChunk = openai.Span{Start: int32(r.uint32()), End: int32(r.uint32())}
	size := int64(r.uint32())
	scope := Scope{sharing: sharing, tenant: r.text(), key: r.text()}
	a.Tenant, a.Model, a.ContentType = r.text(), r.text(), r.text()
	beats := int(r.uint32())
	if r.short || digest != k.Digest || check != k.Check || scope != k.Scope || size > min(limit, maxBody) || beats > maxBeats || a.Op >= helixflow.NumOps {
		return nil, errForm
	}
	for range beats {
		a.Pace = append(a.Pace, Beat{int64(r.uint32()), time.Duration(r.uint32()) * time.Microsecond})
	}
	if r.short || !a.unpack(r.b, size, flags&flagCompressed != 0) || !a.sound() {
		return nil, errForm
	}
	return a, nil
}

// unpack makes b the body, which must come out at just so many bytes.
func (a *Answer) unpack(b []byte, size int64, compressed bool) bool {
	if !compressed {
		a.Body = append([]byte(nil), b...)
		return int64(len(b)) == size
	}
	body, err := decoder().DecodeAll(b, make([]byte, 0, size)) // which goes no further than that
	a.Body = body
	return err == nil && int64(len(body)) == size
}

// sound reports whether the places in the body are in it, in order.
func (a *Answer) sound() bool {
	c, n := a.UsageChunk, int64(len(a.Body))
	if c.Start < 0 || c.End < c.Start || int64(c.End) > n {
		return false
	}
	last := int64(0)
	for _, b := range a.Pace {
		if b.Size < last || b.Size > n || b.Size > int64(c.Start) && b.Size < int64(c.End) {
			return false
		}
		last = b.Size
	}
	return true
}

// reader takes a value apart; once it is too short it gives zeros.
type reader struct {
	b     []byte
	short bool
}

var zeros [sha256.Size]byte

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.short, r.b = true, nil
		return zeros[:min(n, len(zeros))]
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// count is a number of tokens: none is negative, or so large that sums overflow.
func (r *reader) count() int64 { return int64(min(r.uint64(), 1<<40)) }

func (r *reader) time() time.Time { return time.UnixMilli(int64(r.uint64())) }

func (r *reader) text() string {
	n := int(binary.BigEndian.Uint16(r.take(2)))
	if len(r.b) < n {
		r.short, r.b = true, nil
		return ""
	}
	return string(r.take(n))
}
