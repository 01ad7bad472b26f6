package configs

// Hostile files: whatever the bytes, an answer in reasonable time, no panic and
// no secret.

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testtiming"
)

var mutations = flag.Int("mutations", 10_000, "how many mutations of the reference file to try")

// parseHostile parses and checks what must hold for any input.
func parseHostile(t *testing.T, data []byte) error {
	t.Helper()
	c, err := Parse("x.yaml", data, testEnv, testFile)
	if err == nil {
		require.NotNil(t, c)
		return nil
	}
	require.Nil(t, c)
	problems, ok := err.(Problems)
	require.True(t, ok)
	require.NotEmpty(t, problems)
	require.LessOrEqual(t, len(problems), maxProblems+1)
	for i, p := range problems {
		require.NotEmpty(t, p.Message)
		require.False(t, i > 0 && place{p.Line, p.Column}.before(place{problems[i-1].Line, problems[i-1].Column}))
	}
	return err
}

func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.yaml")
	require.NoError(f, err)
	for _, path := range append(seeds, "helixflow.yaml", "quickstart.yaml") {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = parseHostile(t, data) })
}

// TestMutations: the reference, damaged at random places, neither panics the
// loader nor makes it tell a secret (PROMISES: config broken at reload).
func TestMutations(t *testing.T) {
	reference, err := os.ReadFile("helixflow.yaml")
	require.NoError(t, err)
	text := strings.ReplaceAll(string(reference), `"${LLAMA_KEY:-}"`, leak+leak+leak)
	text = strings.ReplaceAll(text, `"${HELIXFLOW_PEPPER:-an example only: set HELIXFLOW_PEPPER}"`, `"`+strings.Repeat(leak, 5)+`"`)
	text = strings.ReplaceAll(text, `proxy: ""`, `proxy: http://u:`+leak+`@p:1`)
	text = strings.ReplaceAll(text, `inference`, leak)
	text = strings.ReplaceAll(text, `"${OPENAI_KEY_1:-an-example}", "${OPENAI_KEY_2:-another-example}"`, leak+"1, "+leak+"2")
	text = strings.ReplaceAll(text, `"${HELIXFLOW_ADMIN_TOKEN:-}"`, strings.Repeat(leak, 5))
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
			lines = append(lines, strings.TrimRight(line, " "))
		}
	}
	text = strings.Join(lines, "\n") + "\n"
	_, err = Parse("x", []byte(text), testEnv, testFile)
	require.NoError(t, err)
	require.Contains(t, text, leak)

	random := rand.New(rand.NewPCG(1, 2))
	for range testtiming.Rounds(*mutations) {
		data := mutate(random, []byte(text))
		if err := parseHostile(t, data); err != nil && strings.Contains(err.Error(), leak) {
			t.Fatalf("tells a secret:\n%v\nof\n%s", err, data)
		}
	}
}

// mutate damages the structure of data, mostly its punctuation; never inside
// the word leak, so that finding it stays a fair test.
func mutate(r *rand.Rand, data []byte) []byte {
	pieces := []string{"", " ", "\n", "\t", ":", ": ", "- ", "[", "]", "{", "}", ",", "\"", "'", "#", "&a ", "*a ", "<<: ", "|", ">", "!", "%", "@", "`", "\x00", "\xff", "é", "${", "}", "~", "9", "---\n", "? "}
	for range 1 + r.IntN(3) {
		i := r.IntN(len(data) + 1)
		for i > 0 && i < len(data) && strings.Contains(string(data[max(0, i-len(leak)+1):min(len(data), i+len(leak)-1)]), leak) {
			i--
		}
		cut := i
		if r.IntN(2) == 0 {
			cut = min(len(data), i+1+r.IntN(3))
		}
		data = append(data[:i:i], append([]byte(pieces[r.IntN(len(pieces))]), data[cut:]...)...)
	}
	return data
}

func TestHostile(t *testing.T) {
	const big = 50_000
	keys := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, data := range map[string]string{
		"brackets":          strings.Repeat("[", big),
		"braces":            strings.Repeat("{a: ", big),
		"dashes":            strings.Repeat("- ", big),
		"questions":         strings.Repeat("? ", big),
		"keys on a line":    strings.Repeat("a: ", big),
		"tags":              strings.Repeat("!!a ", big),
		"anchors":           strings.Repeat("&a ", big),
		"anchors and tags":  strings.Repeat("&a !!str ", big),
		"anchors, lines":    strings.Repeat("&a\n", big),
		"anchors, comments": strings.Repeat("&a #\n", big),
		"aliases":           strings.Repeat("*a ", big),
		"one mapping":       keys(big, "k%d: v\n"),
		"one flow mapping":  "{" + keys(testtiming.Rounds(20_000), "k%d: v, ") + "}",
		"one list":          strings.Repeat("- x\n", big),
		"one flow list":     "[" + strings.Repeat("x,", big) + "]",
		"marks":             strings.Repeat(",", maxMarks+1),
		"long line":         "a: " + strings.Repeat("x", 1<<20),
		"long key":          strings.Repeat("x", 1<<20) + ": a",
		"comments":          strings.Repeat("#\n", big),
		"documents":         strings.Repeat("---\n", 20_000),
		"quotes":            strings.Repeat("\"", big),
		"percents":          strings.Repeat("%a\n", big),
		"stairs":            stairs(500),
		"merge chain":       "a0: &a0 {x: 1}\n" + keys(800, "b%[1]d: {<<: *a0}\n"),
		"alias in secret":   "pools: [{api_key: &k " + leak + ", name: *k, engine: *k, zzz: *k, backends: [{url: *k}]}]",
		"secret as tag":     "pools: [{api_key: !" + leak + " }]",
		"secret as alias":   "pools: [{api_key: *" + leak + " }]",
		"secret as anchor":  "pools: [{api_key: &" + leak + " }]",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := parseHostile(t, []byte(data))
			require.Error(t, err)
			assert.NotContains(t, err.Error(), leak)
			assert.Less(t, time.Since(began), 30*time.Second) // half a second where nothing else runs
		})
	}
}

func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// bigFile is a valid file of about n bytes.
func bigFile(n int) []byte {
	var b strings.Builder
	b.WriteString("tenants: [{name: a}]\nmodels: [{name: m, targets: [{pool: p0}]}]\npools:\n")
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "  - name: p%d\n    engine: vllm\n    backends:\n", i)
		for j := range 8 {
			fmt.Fprintf(&b, "      - {url: \"http://10.0.%d.%d:8000\", weight: 1, max_inflight: 64}\n", i%256, j)
		}
	}
	return []byte(b.String())
}

func TestBigFile(t *testing.T) {
	c, err := Parse("x", bigFile(1<<20), nil, nil)
	require.NoError(t, err)
	require.Greater(t, len(c.Pools), 1000)
}

// BenchmarkParse times a 1 MiB file, and apart from it what is ours: all but
// the YAML library's own parsing.
func BenchmarkParse(b *testing.B) {
	data := bigFile(1 << 20)
	b.Run("all", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := Parse("x", data, nil, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		text := string(data)
		body, problem := parseYAML(text)
		if problem != nil {
			b.Fatal(problem)
		}
		for b.Loop() {
			r := &reader{file: "x", src: newSource(text), failed: map[string]bool{}}
			if checkBytes(text) != nil || r.build(body) == nil || len(r.problems) > 0 {
				b.Fatal(r.problems)
			}
		}
	})
}
