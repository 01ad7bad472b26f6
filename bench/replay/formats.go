package replay

// The formats of published traces.

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mooncake reads the traces of Mooncake (Qin et al., FAST 2025): a JSON object on a
// line, with the hashes of the prompt's pieces of 512 tokens, each of which stands
// for all before it too. A tenant may be named besides.
type mooncake struct{ tenants names }

type mooncakeLine struct {
	Timestamp *float64 `json:"timestamp"` // milliseconds
	Input     int64    `json:"input_length"`
	Output    int64    `json:"output_length"`
	Hashes    []uint64 `json:"hash_ids"`
	Tenant    string   `json:"tenant"`
}

func (m *mooncake) line(text []byte, r *Request) (bool, error) {
	var l mooncakeLine
	if err := json.Unmarshal(text, &l); err != nil {
		return false, plain(err)
	}
	if l.Timestamp == nil {
		return false, errors.New("it has no timestamp")
	}
	at, err := nanos(*l.Timestamp / 1e3)
	if err != nil {
		return false, err
	}
	if err := bounded(at); err != nil {
		return false, err
	}
	tenant, err := m.tenants.number(l.Tenant)
	*r = Request{At: at, Prompt: clampTokens(l.Input), Output: clampTokens(l.Output), Pieces: l.Hashes, Tenant: tenant}
	return true, err
}

func bounded(at int64) error {
	if at < 0 || at > maxSeconds*int64(time.Second) {
		return fmt.Errorf("its time is not within %.0f days from the beginning", maxSeconds/(24*60*60))
	}
	return nil
}

// plain is what JSON says of a line, without what it says of our types.
func plain(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s must not be a JSON %s", kind.Field, kind.Value)
	}
	return fmt.Errorf("it is no JSON object: %w", err)
}

// names numbers names in the order they come.
type names struct{ known map[string]int32 }

const maxNames = 100_000

func (n *names) number(name string) (int32, error) {
	if name == "" {
		return 0, nil
	}
	if i, ok := n.known[name]; ok {
		return i, nil
	}
	if n.known == nil {
		n.known = make(map[string]int32)
	}
	if len(n.known) >= maxNames {
		return 0, fmt.Errorf("there are more than %d tenants", maxNames)
	}
	i := int32(len(n.known) + 1)
	n.known[name] = i
	return i, nil
}

// table reads comma-separated values with a line of headings.
type table struct {
	columns [3]string // headings of time, prompt and output tokens
	time    func(string) (int64, error)
	at      [3]int
	fields  int // of the headings; 0: they are still to come
	began   int64
	begun   bool
}

// The columns of Azure's LLM inference traces, 2023 and 2024, and of BurstGPT
// (Wang et al. 2024).
var (
	azureColumns = [3]string{"TIMESTAMP", "ContextTokens", "GeneratedTokens"}
	burstColumns = [3]string{"Timestamp", "Request tokens", "Response tokens"}
)

func (t *table) line(text []byte, r *Request) (bool, error) {
	fields := strings.Split(string(text), ",")
	for i, f := range fields {
		fields[i] = strings.Trim(strings.TrimSpace(strings.TrimPrefix(f, "\ufeff")), `"`)
	}
	if t.fields == 0 {
		return false, t.headings(fields)
	}
	if len(fields) != t.fields {
		return false, fmt.Errorf("it has %d fields, and the first line %d", len(fields), t.fields)
	}
	at, err := t.time(fields[t.at[0]])
	if err != nil {
		return false, err
	}
	if !t.begun {
		t.began, t.begun = at, true
	}
	if since := at - t.began; since < -maxSeconds*int64(time.Second) || since > maxSeconds*int64(time.Second) {
		return false, errors.New("its time is too far from the first one's")
	}
	prompt, err := count(t.columns[1], fields[t.at[1]])
	if err != nil {
		return false, err
	}
	output, err := count(t.columns[2], fields[t.at[2]])
	if err != nil {
		return false, err
	}
	*r = Request{At: at - t.began, Prompt: clampTokens(prompt), Output: clampTokens(output)}
	return prompt > 0 && output > 0, nil // BurstGPT lists failures, with no tokens
}

func (t *table) headings(fields []string) error {
	for i, want := range t.columns {
		t.at[i] = -1
		for j, f := range fields {
			if strings.EqualFold(f, want) {
				t.at[i] = j
			}
		}
		if t.at[i] < 0 {
			return fmt.Errorf("the first line has no heading %q", want)
		}
	}
	t.fields = len(fields)
	return nil
}

func count(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is no whole number", name)
	}
	return n, nil
}

func azureTime(text string) (int64, error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() > 1970 && at.Year() < 2200 {
			return at.UnixNano(), nil
		}
	}
	return 0, errors.New("its TIMESTAMP is no time like 2023-11-16 18:17:03.9799600")
}

func burstTime(text string) (int64, error) {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, errors.New("its Timestamp is no number of seconds")
	}
	return nanos(s)
}
