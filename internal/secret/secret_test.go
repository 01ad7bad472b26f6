package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const hidden = "hunter2"

func TestReveal(t *testing.T) {
	require.Equal(t, hidden, New(hidden).Reveal())
	require.Equal(t, "", Text{}.Reveal())
}

func TestEmpty(t *testing.T) {
	require.True(t, Text{}.Empty())
	require.True(t, New("").Empty())
	require.False(t, New(hidden).Empty())
}

func TestEveryVerbHides(t *testing.T) {
	type holder struct {
		Exported   Text
		unexported Text
		Pointer    *Text
		List       []Text
	}
	s := New(hidden)
	h := holder{s, s, &s, []Text{s}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%U", "%c", "%20s", "%-20.3q", "%T%[1]v"} {
		for _, v := range []any{s, &s, []Text{s}, map[string]Text{"k": s}, h, &h} {
			got := fmt.Sprintf(verb, v)
			assert.NotContains(t, got, hidden, "%s of %T", verb, v)
			assert.NotContains(t, got, fmt.Sprintf("%x", hidden), "%s of %T", verb, v)
		}
		assert.Contains(t, fmt.Sprintf(verb, s), redacted, verb)
		assert.NotContains(t, fmt.Sprintf(verb, Text{}), redacted, verb)
	}
	assert.Equal(t, redacted, s.String())
	assert.Equal(t, redacted, s.GoString())
	assert.NotContains(t, fmt.Sprint(h.unexported), hidden)
	assert.NotContains(t, fmt.Errorf("cannot use %v", s).Error(), hidden)
}

func TestEncodersHide(t *testing.T) {
	s := New(hidden)
	j, err := json.Marshal(map[string]any{"value": s, "pointer": &s})
	require.NoError(t, err)
	require.JSONEq(t, `{"value": "[redacted]", "pointer": "[redacted]"}`, string(j))
	text, err := s.MarshalText()
	require.NoError(t, err)
	require.Equal(t, redacted, string(text))
}

func TestLogsHide(t *testing.T) {
	var b bytes.Buffer
	s := New(hidden)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(handler).Info("x", "value", s, "pointer", &s, "inside", struct{ S Text }{s})
	}
	require.NotContains(t, b.String(), hidden)
	require.Contains(t, b.String(), redacted)
}
