package accesslog

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// TestRecordHoldsNoContent is to be changed with care: a field added here is a
// field that ends in files. None may hold what was said or a credential, and none
// may borrow memory of a request.
func TestRecordHoldsNoContent(t *testing.T) {
	fields := map[string]reflect.Type{
		"Time": reflect.TypeFor[time.Time](), "ID": reflect.TypeFor[Text](), "Client": reflect.TypeFor[netip.Addr](),
		"Tenant": reflect.TypeFor[string](), "KeyName": reflect.TypeFor[string](), "KeyID": reflect.TypeFor[string](),
		"Op": reflect.TypeFor[helixflow.Op](), "Prefix": reflect.TypeFor[string](), "Model": reflect.TypeFor[string](), "Asked": reflect.TypeFor[Text](),
		"Backend": reflect.TypeFor[string](), "Stream": reflect.TypeFor[bool](), "Status": reflect.TypeFor[int](),
		"Problem": reflect.TypeFor[bool](), "Kind": reflect.TypeFor[helixflow.Kind](), "Cut": reflect.TypeFor[bool](),
		"Left": reflect.TypeFor[bool](), "Replay": reflect.TypeFor[bool](), "Tries": reflect.TypeFor[int](), "Hedge": reflect.TypeFor[string](), "End": reflect.TypeFor[string](),
		"Policy": reflect.TypeFor[string](), "Reason": reflect.TypeFor[string](), "Costed": reflect.TypeFor[bool](), "Hit": reflect.TypeFor[int64](),
		"Ahead": reflect.TypeFor[time.Duration](), "Cost": reflect.TypeFor[time.Duration](), "Second": reflect.TypeFor[time.Duration](),
		"Shadows": reflect.TypeFor[[MaxShadows]Shadow](),
		"Cache":   reflect.TypeFor[string](),
		"Hook":    reflect.TypeFor[string](), "HookResult": reflect.TypeFor[string](), "Hooks": reflect.TypeFor[time.Duration](),
		"BytesIn": reflect.TypeFor[int64](), "BytesOut": reflect.TypeFor[int64](),
		"Total": reflect.TypeFor[time.Duration](), "Queue": reflect.TypeFor[time.Duration](),
		"Overhead": reflect.TypeFor[time.Duration](), "FirstToken": reflect.TypeFor[time.Duration](),
		"Usage": reflect.TypeFor[helixflow.Usage](), "Hashes": reflect.TypeFor[[]uint32](), // under a secret seed
	}
	got := make(map[string]reflect.Type)
	for f := range reflect.TypeFor[Record]().Fields() {
		got[f.Name] = f.Type
	}
	assert.Equal(t, fields, got)

	for f := range reflect.TypeFor[Text]().Fields() {
		assert.Contains(t, []reflect.Kind{reflect.Uint8, reflect.Array}, f.Type.Kind(), "a Text borrows nothing")
	}
	for f := range reflect.TypeFor[Shadow]().Fields() {
		assert.Equal(t, reflect.String, f.Type.Kind(), "names of the plan")
	}
	for f := range reflect.TypeFor[helixflow.Usage]().Fields() {
		assert.Contains(t, []reflect.Kind{reflect.Int64, reflect.Bool}, f.Type.Kind(), "usage is numbers")
	}
	assert.Less(t, reflect.TypeFor[Record]().Size(), uintptr(900))
}

// TestTextKeepsNoKey puts an API key where a client by mistake might.
func TestTextKeepsNoKey(t *testing.T) {
	const key = "sk-hfx_live_Canary01_CanaryCanaryCanaryCanaryCanaryCanaryCanary0_abc123"
	for _, s := range []string{key, "Bearer " + key, "x" + key[3:], "sk-proj-CanaryCanary", strings.Repeat("m", 120) + key} {
		var r Record
		r.ID.Set([]byte(s))
		r.Asked.Set([]byte(s))
		line := string(appendLine(nil, &r))
		assert.NotContains(t, line, "Canary")
		assert.Contains(t, line, `"request_id":"[redacted]"`)
		assert.Contains(t, line, `"asked":"[redacted]"`)
	}
}

func TestText(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		var text Text
		text.Set([]byte(strings.Repeat("old", 40)))
		text.Set([]byte(s))
		require.Equal(t, want, text.String())
		require.Equal(t, utf8.ValidString(s), utf8.ValidString(want))
	}
	f("", "")
	f("gpt-4o", "gpt-4o")
	f(strings.Repeat("m", 128), strings.Repeat("m", 128))
	f(strings.Repeat("m", 129), strings.Repeat("m", 125)+"…")
	f(strings.Repeat("é", 64), strings.Repeat("é", 64))
	f(strings.Repeat("é", 65), strings.Repeat("é", 62)+"…")
	f("m"+strings.Repeat("😀", 64), "m"+strings.Repeat("😀", 31)+"…")
	f("mm"+strings.Repeat("😀", 64), "mm"+strings.Repeat("😀", 30)+"…")
	f(strings.Repeat("\x80", 200), strings.Repeat("\x80", 121)+"…")

	s := []byte("borrowed")
	var text Text
	text.Set(s)
	s[0] = 'X'
	assert.Equal(t, "borrowed", text.String())
	assert.Zero(t, testing.AllocsPerRun(100, func() { text.Set(s) }))
}
