package sim

// /v1/embeddings and /v1/moderations: answers that generate no tokens.

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

func (a *answer) embeddingBody() []byte {
	b := []byte(`{"object":"list","data":[`)
	for i, p := range a.ask.prompts {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"object":"embedding","index":`...), int64(i), 10)
		b = append(b, `,"embedding":`...)
		b = append(appendVector(b, unitVector(p.digest, a.ask.dimensions), a.ask.base64), '}')
	}
	b = appendString(append(b, `],"model":`...), a.ask.model)
	u := a.usage()
	return append(append(append(b, `,"usage":`...), marshal(object{
		"prompt_tokens": u.prompt, "total_tokens": u.prompt, "prompt_tokens_details": object{"cached_tokens": u.cached},
	})...), '}')
}

// unitVector returns a vector of length 1 that depends on seed alone.
func unitVector(seed uint64, n int) []float32 {
	rand := splitmix(seed)
	v := make([]float32, n)
	sum := 0.0
	for i := range v {
		v[i] = float32(rand.next()>>40)/(1<<23) - 1
		sum += float64(v[i]) * float64(v[i])
	}
	if sum == 0 {
		v[0], sum = 1, 1
	}
	norm := 1 / math.Sqrt(sum)
	for i := range v {
		v[i] = float32(float64(v[i]) * norm)
	}
	return v
}

// appendVector appends v as a list, or as the base64 of its little-endian bytes.
func appendVector(b []byte, v []float32, packed bool) []byte {
	if packed {
		raw := make([]byte, 0, 4*len(v))
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), raw), '"')
	}
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']')
}

// categories are those of OpenAI's moderation models.
var categories = [...]string{
	"harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
	"self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
}

func (a *answer) moderationBody() []byte {
	results := make([]object, len(a.ask.prompts))
	for i := range results {
		flags, scores, inputs := object{}, object{}, object{}
		for _, c := range categories {
			flags[c], scores[c], inputs[c] = false, 0.0001, []string{"text"}
		}
		results[i] = object{
			"flagged": false, "categories": flags, "category_scores": scores, "category_applied_input_types": inputs,
		}
	}
	return marshal(object{"id": "modr-" + a.id, "model": a.ask.model, "results": results})
}
