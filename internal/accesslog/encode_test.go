package accesslog

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// full is a Record in which everything has a value.
func full() *Record {
	r := &Record{
		Time:   time.Date(2026, 11, 2, 23, 4, 5, 67_890_123, time.FixedZone("", 3600)),
		Client: netip.MustParseAddr("2001:db8::7"),
		Tenant: "acme", KeyName: "ci", KeyID: "k7Qm",
		Op: helixflow.OpChatCompletions, Model: "llama-3.1-70b", Backend: "http://10.0.0.11:8000",
		Stream: true, Status: 200, Problem: true, Kind: helixflow.KindBackendBroken, Cut: true, Left: true, Replay: true, Tries: 2, Hedge: "won",
		Policy: "adaptive", Reason: "prefix", Costed: true, Hit: 90, Ahead: 2 * time.Millisecond, Cost: 3 * time.Millisecond, Second: 4 * time.Millisecond,
		Shadows: [MaxShadows]Shadow{{"random", "http://10.0.0.12:8000"}, {}, {"round_robin", "http://a"}},
		Hashes:  []uint32{0x12ab, 0xfedcba98},
		End:     "idle", Hook: "pii", HookResult: "replace",
		BytesIn: 1234, BytesOut: 56789,
		Total: 12345678 * time.Microsecond, Queue: time.Millisecond, Hooks: 2 * time.Millisecond, Overhead: 42 * time.Microsecond, FirstToken: 456789 * time.Microsecond,
		Usage: helixflow.Usage{InputTokens: 100, CachedTokens: 90, OutputTokens: 20, ReasoningTokens: 5, Reported: true},
	}
	r.ID.Set([]byte("req_0123456789abcdef0123456789abcdef"))
	r.Asked.Set([]byte("gpt-4o"))
	return r
}

func TestLine(t *testing.T) {
	f := func(r *Record, want string) {
		t.Helper()
		got := string(appendLine([]byte("before\n"), r))
		require.Equal(t, "before\n"+want+"\n", got)
		require.True(t, json.Valid([]byte(want)))
	}
	f(full(), `{"time":"2026-11-02T22:04:05.067Z","request_id":"req_0123456789abcdef0123456789abcdef","client":"2001:db8::7",`+
		`"tenant":"acme","key":"ci","key_id":"k7Qm","endpoint":"chat_completions","model":"llama-3.1-70b","asked":"gpt-4o",`+
		`"backend":"http://10.0.0.11:8000","stream":true,"status":200,"error":"backend_broken","cut":true,"left":true,"replay":true,"tries":2,"hedge":"won","end":"idle","hook":"pii","hook_result":"replace",`+
		`"bytes_in":1234,"bytes_out":56789,"total_ms":12345.678,"queue_ms":1.000,"hooks_ms":2.000,"overhead_ms":0.042,"ttft_ms":456.789,`+
		`"tokens_in":100,"tokens_cached":90,"tokens_out":20,"tokens_reasoning":5,"balance":"adaptive","reason":"prefix","hit_expected":90,"ahead_ms":2.000,"cost_ms":3.000,"second_ms":4.000,"shadows":{"random":"http://10.0.0.12:8000","round_robin":"http://a"},"prefix_hashes":"000012abfedcba98"}`)
	f(&Record{Time: time.Unix(0, 0)}, `{"time":"1970-01-01T00:00:00.000Z","request_id":"","endpoint":"other","stream":false,"status":0,"tries":0,`+
		`"bytes_in":0,"bytes_out":0,"total_ms":0.000}`)

	r := &Record{Time: time.Unix(0, 0), Model: "gpt-4o", Status: 500, Problem: true, Total: -1}
	r.Asked.Set([]byte("gpt-4o"))
	f(r, `{"time":"1970-01-01T00:00:00.000Z","request_id":"","endpoint":"other","model":"gpt-4o","stream":false,"status":500,"error":"internal","tries":0,`+
		`"bytes_in":0,"bytes_out":0,"total_ms":0.000}`)
}

func TestLineTime(t *testing.T) {
	for _, at := range []time.Time{
		{}, time.Unix(1<<33, 999_999_999), time.Date(9999, 12, 31, 23, 59, 59, 1e6, time.UTC), time.Date(1, 2, 3, 4, 5, 6, 7, time.Local),
	} {
		assert.Equal(t, at.UTC().Format("2006-01-02T15:04:05.000Z"), string(appendTime(nil, at)))
	}
	assert.Equal(t, "9999-01-01T00:00:00.000Z", string(appendTime(nil, time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC))))
}

func TestLineText(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		assert.Equal(t, want, string(appendText(nil, []byte(s))))
		assert.Equal(t, "k"+want, string(appendName(nil, "k", s)))
	}
	f("plain ~", `"plain ~"`)
	f(`a"b\c`, `"a\"b\\c"`)
	f("a\nb\r\t\x00\x1f\x7f", `"a\u000ab\u000d\u0009\u0000\u001f\u007f"`)
	f("\x1b[31m", `"\u001b[31m"`)
	f("\u009b31m\u0085", `"\u009b31m\u0085"`)
	f("a\u2028b\u2029", `"a\u2028b\u2029"`)
	f("é😀", `"é😀"`)
	f("a\xffb\xc3", "\"a\ufffdb\ufffd\"")
}

// FuzzLine holds that a line is one line of JSON that says what the record says.
func FuzzLine(f *testing.F) {
	f.Add("req_1", "acme", "m", []byte("asked"), int64(5), int64(1<<60), "eth0")
	f.Add("\x00\n\"\\", "\u2028\u009b\xff", "é", []byte{0xff, 0xfe}, int64(-1), int64(math.MinInt64), "\"\n")
	f.Fuzz(func(t *testing.T, id, tenant, model string, asked []byte, n, at int64, zone string) {
		r := Record{
			Time: time.Unix(at%(1<<38), n), Tenant: tenant, KeyName: tenant, KeyID: model, Model: model, Backend: tenant + model,
			Client: netip.MustParseAddr("fe80::1").WithZone(zone), Op: helixflow.Op(n), Kind: helixflow.Kind(at),
			Problem: true, Status: int(n), Tries: int(at), BytesIn: n, BytesOut: at, Total: time.Duration(n), Queue: time.Duration(at),
			Usage: helixflow.Usage{InputTokens: n, OutputTokens: at, Reported: true},
		}
		r.ID.Set([]byte(id))
		r.Asked.Set(asked)
		line := appendLine(nil, &r)
		end := bytes.IndexFunc(line, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 })
		require.Equal(t, len(line)-1, end, "control characters")
		var got struct {
			Time    time.Time
			ID      string `json:"request_id"`
			Client  string
			Tenant  string
			Key     string
			KeyID   string `json:"key_id"`
			Model   string
			Asked   string
			Backend string
			Status  int
			In      int64 `json:"bytes_in"`
			Out     int64 `json:"bytes_out"`
			Tokens  int64 `json:"tokens_in"`
		}
		d := json.NewDecoder(bytes.NewReader(line))
		require.NoError(t, d.Decode(&got))
		require.False(t, d.More())
		text := func(s string) string { // as encoding/json reads it
			b, err := json.Marshal(s)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(b, &s))
			return s
		}
		require.Equal(t, text(r.ID.String()), got.ID)
		require.Equal(t, text(r.Client.String()), got.Client)
		require.Equal(t, text(tenant), got.Tenant)
		require.Equal(t, text(tenant), got.Key)
		require.Equal(t, text(model), got.KeyID)
		require.Equal(t, text(model), got.Model)
		require.Equal(t, text(tenant+model), got.Backend)
		if r.Asked.String() != model {
			require.Equal(t, text(r.Asked.String()), got.Asked)
		}
		require.Equal(t, int(n), got.Status)
		require.Equal(t, []int64{n, at, n}, []int64{got.In, got.Out, got.Tokens})
	})
}

func TestLineAllocates(t *testing.T) {
	r, dst := full(), make([]byte, 0, 4<<10)
	assert.Zero(t, testing.AllocsPerRun(100, func() { dst = appendLine(dst[:0], r) }))
}

func BenchmarkLine(b *testing.B) {
	f := func(name string, r *Record) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 4<<10)
			for b.Loop() {
				dst = appendLine(dst[:0], r)
			}
		})
	}
	f("full", full())
	worst := full()
	worst.ID.Set(bytes.Repeat([]byte{1}, maxText))
	worst.Asked.Set(bytes.Repeat([]byte{0xff}, maxText))
	worst.Model = strings.Repeat("é", 128)
	f("worst", worst)
}
