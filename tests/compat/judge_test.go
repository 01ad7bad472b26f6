//go:build integration

// Holding an answer against what was wanted.

package compat

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// verdict judges one answer.
type verdict struct {
	*testing.T

	w     *world
	about *About
	order Order
	want  Want
	a     Answer
	took  time.Duration
}

// sees says whether the client tells its caller of this field.
func (v *verdict) sees(field string) bool {
	_, blind := v.about.Blind[field]
	return !blind
}

// same holds a field against the value wanted, unless none is or the client does not tell.
func same[T comparable](v *verdict, field string, want, got T) {
	v.Helper()
	var zero T
	if want != zero && v.sees(field) {
		assert.Equal(v, want, got, field)
	}
}

func (v *verdict) least(field string, want, got int) {
	v.Helper()
	if v.sees(field) {
		assert.GreaterOrEqual(v, got, want, field)
	}
}

func (v *verdict) judge() {
	v.judgeError()
	want, a := &v.want, &v.a
	switch {
	case want.Text == engineText && v.order.Do == "parallel":
		assert.Equal(v, v.w.engineTexts(v.T, v.order), a.Texts, "texts")
	case want.Text == engineText:
		assert.Contains(v, v.w.engineTexts(v.T, v.order), a.Text, "text")
	case want.Text == anyText:
		assert.NotEmpty(v, a.Text, "text")
	default:
		same(v, "text", want.Text, a.Text)
	}
	same(v, "finish", want.Finish, a.Finish)
	same(v, "output_tokens", want.Output, a.Output)
	v.least("input_tokens", want.Input, a.Input)
	v.least("items", want.Items, a.Items)
	v.judgeUsage()
	v.judgeObjects()
	v.judgeVectors()
	same(v, "ids", want.IDs, strings.Join(slices.Sorted(slices.Values(a.IDs)), " "))
	if want.Innocent > 0 {
		assert.Equal(v, make([]bool, want.Innocent), a.Flagged, "verdicts")
	}
	if want.Events != "" && v.sees("events") {
		assert.Equal(v, strings.Fields(want.Events), inOrder(a.Events, strings.Fields(want.Events)), "of the events %v", a.Events)
	}
	assert.Equal(v, want.Audio, string(a.Audio), "audio")
	if want.Distinct && v.sees("request_id") {
		assert.NotEmpty(v, a.RequestID, "request id")
		assert.NotContains(v, v.w.requestIDs, a.RequestID)
	}
	v.w.requestIDs = append(v.w.requestIDs, a.RequestID)
	assert.GreaterOrEqual(v, v.took, want.AtLeast)
	if want.AtMost > 0 {
		assert.LessOrEqual(v, v.took, want.AtMost)
	}
}

func (v *verdict) judgeError() {
	want, e := &v.want, v.a.Error
	if want.Status == 0 && !want.Fails {
		assert.Nil(v, e, "the error: %+v", e)
		return
	}
	if !assert.NotNil(v, e, "no error came but %+v", v.a) {
		return
	}
	assert.NotEmpty(v, e.Class)
	assert.NotEmpty(v, e.Message)
	same(v, "error.status", want.Status, e.Status)
	inStream := ""
	if want.Status == 0 {
		inStream = " in a stream"
	}
	same(v, "error.code"+inStream, want.Code, e.Code)
	same(v, "error.type", want.Type, e.Type)
	same(v, "error.param", want.Param, e.Param)
	same(v, "error.retry_after", want.Wait, e.RetryAfter)
	assert.Contains(v, e.Message, want.Message)
	if want.Status != 0 && v.sees("error.request_id") {
		assert.NotEmpty(v, e.RequestID, "the error's request id")
	}
}

func (v *verdict) judgeUsage() {
	if !v.sees("usage_at") {
		return
	}
	switch v.want.UsageAt {
	case UsageLast:
		assert.Equal(v, []int{v.a.Items - 1}, v.a.UsageAt, "items with usage, of %d", v.a.Items)
	case UsageNowhere:
		assert.Empty(v, v.a.UsageAt, "items with usage")
	}
}

func (v *verdict) judgeObjects() {
	if v.want.Call && assert.Len(v, v.a.Calls, 1) {
		call := v.a.Calls[0]
		var arguments struct {
			City *string `json:"city"`
			Days *int    `json:"days"`
		}
		assert.NoError(v, json.Unmarshal([]byte(call.Arguments), &arguments), call.Arguments)
		assert.True(v, call.ID != "" && call.Name == "get_weather" && arguments.City != nil && arguments.Days != nil, "%+v", call)
	}
	if v.want.Person {
		name, isText := v.a.Parsed["name"].(string)
		age, isNumber := v.a.Parsed["age"].(float64)
		_, isList := v.a.Parsed["tags"].([]any)
		assert.True(v, isText && name != "" && isNumber && age == math.Trunc(age) && isList, "%v", v.a.Parsed)
	}
}

func (v *verdict) judgeVectors() {
	if v.want.Vectors == 0 {
		return
	}
	want := v.w.engineVectors(v.T, v.order)
	if !assert.Len(v, v.a.Vectors, len(want)) {
		return
	}
	for i := range want {
		assert.Len(v, want[i], v.want.Vectors)
		assert.InDeltaSlice(v, want[i], v.a.Vectors[i], 1e-6, "vector "+strconv.Itoa(i))
	}
}

// inOrder returns how much of want stands in list, in that order.
func inOrder(list, want []string) []string {
	n := 0
	for _, e := range list {
		if n < len(want) && e == want[n] {
			n++
		}
	}
	return want[:n]
}
