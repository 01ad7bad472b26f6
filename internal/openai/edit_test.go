package openai

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// apply returns body edited, after checking that all three ways agree.
func apply(t *testing.T, e *Edits, body string) string {
	t.Helper()
	before := strings.Clone(body)
	got := e.AppendTo([]byte("dst:"), []byte(body))
	require.Equal(t, "dst:", string(got[:4]))
	got = got[4:]
	segments := e.Segments(nil, []byte(body))
	require.Equal(t, string(got), string(bytes.Join(segments, nil)))
	for _, s := range segments {
		require.NotEmpty(t, s)
	}
	require.Equal(t, len(got), e.Size([]byte(body)))
	require.Equal(t, before, body)
	return string(got)
}

func TestEdits(t *testing.T) {
	const body = "0123456789"
	f := func(want string, add func(e *Edits)) {
		t.Helper()
		var e Edits
		add(&e)
		assert.Equal(t, want, apply(t, &e, body))
		e.Reset()
		assert.True(t, e.Empty())
		assert.Equal(t, Edits{}, e, "nothing borrowed is kept")
	}
	f(body, func(*Edits) {})
	f("AB23456789", func(e *Edits) { e.Replace(Span{0, 2}, []byte("AB")) })
	f("01234567", func(e *Edits) { e.Replace(Span{8, 10}, nil) })
	f("0123456789Z", func(e *Edits) { e.Insert(10, []byte("Z")) })
	f("A0123456789", func(e *Edits) { e.Insert(0, []byte("A")) })
	f("A01B5678C9", func(e *Edits) {
		e.Insert(9, []byte("C"))
		e.Insert(0, []byte("A"))
		e.Replace(Span{2, 5}, []byte("B"))
	})
	f("01xyB45z6789", func(e *Edits) { // insertions at the edges of a replacement, put in on all sides of it
		e.Insert(2, []byte("x"))
		e.Replace(Span{2, 4}, []byte("B"))
		e.Insert(2, []byte("y"))
		e.Insert(6, []byte("z"))
	})
	f("0Bi456789", func(e *Edits) {
		e.Insert(4, []byte("i"))
		e.Replace(Span{1, 4}, []byte("B"))
	})
	f("ABC3456789", func(e *Edits) { // neighbours
		e.Replace(Span{2, 3}, []byte("C"))
		e.Replace(Span{0, 1}, []byte("A"))
		e.Replace(Span{1, 2}, []byte("B"))
	})
	f("ABCDEFGHIJklmnopqrstuvwx", func(e *Edits) { // a full list
		for i := int32(9); i >= 0; i-- {
			e.Replace(Span{i, i + 1}, []byte{byte('A' + i)})
		}
		for i := len(body); i < maxEdits; i++ {
			e.Insert(10, []byte{byte('a' + i)})
		}
	})
}

func TestEditsPanic(t *testing.T) {
	f := func(add func(e *Edits)) {
		t.Helper()
		assert.Panics(t, func() {
			e := new(Edits)
			e.Replace(Span{2, 5}, nil)
			add(e)
		})
	}
	f(func(e *Edits) { e.Replace(Span{2, 5}, nil) })
	f(func(e *Edits) { e.Replace(Span{0, 3}, nil) })
	f(func(e *Edits) { e.Replace(Span{4, 6}, nil) })
	f(func(e *Edits) { e.Replace(Span{1, 6}, nil) })
	f(func(e *Edits) { e.Insert(3, nil) })
	f(func(e *Edits) { e.Replace(Span{7, 6}, nil) })
	f(func(e *Edits) { e.Insert(-1, nil) })
	f(func(e *Edits) {
		for range maxEdits {
			e.Insert(9, nil)
		}
	})
}

func TestInjectUsage(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		for _, op := range []helixflow.Op{helixflow.OpChatCompletions, helixflow.OpCompletions} {
			var c Call
			var e Edits
			require.NoError(t, Scan([]byte(body), op, &c))
			assert.Equal(t, want != body, InjectUsage(&c, &e))
			assert.Equal(t, want, apply(t, &e, body))
		}
	}
	f(`{"stream":true}`, `{"stream":true,"stream_options":{"include_usage":true}}`)
	f(`{"stream":true } `, `{"stream":true ,"stream_options":{"include_usage":true}} `)
	f(`{"stream":true,"stream_options":null}`, `{"stream":true,"stream_options":{"include_usage":true}}`)
	f(`{"stream":true,"stream_options":{}}`, `{"stream":true,"stream_options":{"include_usage":true}}`)
	f(`{"stream":true,"stream_options":{ }}`, `{"stream":true,"stream_options":{"include_usage":true }}`)
	f(`{"stream_options":{ "a":1},"stream":true}`, `{"stream_options":{"include_usage":true, "a":1},"stream":true}`)
	f(`{"stream":true,"stream_options":{"include_usage":false,"a":1}}`, `{"stream":true,"stream_options":{"include_usage":true,"a":1}}`)
	f(`{"stream":true,"stream_options":{"include_usage":null}}`, `{"stream":true,"stream_options":{"include_usage":true}}`)
	same := func(body string) { t.Helper(); f(body, body) }
	same(`{"stream":true,"stream_options":{"include_usage":true}}`)
	same(`{"stream":false}`)
	same(`{"stream":null,"stream_options":{}}`)
	same(`{}`)

	var c Call
	var e Edits
	require.NoError(t, Scan([]byte(`{"stream":true}`), helixflow.OpResponses, &c))
	assert.False(t, InjectUsage(&c, &e), "responses reports usage anyway")
	assert.True(t, e.Empty())
}

func TestEditsAllocate(t *testing.T) {
	body := []byte(`{"model":"alias","stream":true,"messages":[]}`)
	var c Call
	var e Edits
	var segments net.Buffers
	dst, name := make([]byte, 0, 256), []byte("real")
	list := make([][]byte, 0, 2*maxEdits+1)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = Scan(body, chat, &c)
		e.Reset()
		InjectUsage(&c, &e)
		e.Replace(c.Model, name)
		dst = e.AppendTo(dst[:0], body)
		segments = e.Segments(list[:0], body)
	}))
	assert.Len(t, segments, 5)
}

func FuzzEdits(f *testing.F) {
	for _, s := range scanSeeds {
		f.Add([]byte(s), "gpt-4o")
	}
	f.Add([]byte(`{"stream":true,"model":"a","stream_options":{"b":[]} }`), "q\"\\\x00\xff")
	f.Fuzz(func(t *testing.T, body []byte, model string) {
		var c Call
		if Scan(body, chat, &c) != nil {
			return
		}
		var e Edits
		injected := InjectUsage(&c, &e)
		require.Equal(t, c.Stream && !c.IncludeUsage, injected)
		name := AppendJSONString(nil, model)
		if c.Model.Present() {
			e.Replace(c.Model, name[1:len(name)-1])
		}
		var want, got map[string]any
		require.NoError(t, json.Unmarshal(body, &want))
		require.NoError(t, json.Unmarshal([]byte(apply(t, &e, string(body))), &got))
		if c.Model.Present() {
			want["model"] = strings.ToValidUTF8(model, "\ufffd")
			got["model"] = collapse(got["model"].(string))
			want["model"] = collapse(want["model"].(string))
		}
		if injected {
			options, _ := want["stream_options"].(map[string]any)
			if options == nil {
				options = map[string]any{}
			}
			options["include_usage"] = true
			want["stream_options"] = options
		}
		require.Equal(t, want, got)
	})
}

// collapse makes one U+FFFD of a run: strings.ToValidUTF8 writes one for a run of
// bad bytes, an encoder one for each.
func collapse(s string) string {
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}
