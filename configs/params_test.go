package configs

// What this package accepts for params is what the router can compile: checked
// against it.

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/openai"
)

// compile is what the router will do with p.
func compile(p *Params) error {
	var defaults, caps []openai.Member
	for _, d := range p.Default {
		defaults = append(defaults, openai.Member{Name: d.Name, Value: d.Value})
	}
	for _, c := range p.Cap {
		caps = append(caps, openai.Member{Name: c.Name, Value: c.Value})
	}
	_, err := openai.CompileParams(defaults, caps, p.Drop)
	return err
}

// parseParams is the params of a file whose model has these.
func parseParams(params string) (*Params, error) {
	c, err := Parse("x", []byte(plain+"    params: "+params+"\n"), testEnv, testFile)
	if err != nil {
		return nil, err
	}
	return &c.Models[0].Params, nil
}

func TestParamsAreTheRouters(t *testing.T) {
	require.Equal(t, openai.MaxParams, maxParams)
	for _, path := range []string{"helixflow.yaml", "testdata/good/params.yaml"} {
		c, err := parseTest(t, path)
		require.NoError(t, err)
		require.NoError(t, compile(&c.Models[0].Params), path)
	}
	names := append([]string{"temperature", "stop", "Seed", "tools", "logit_bias", "Model", "User", "N", "Max_Tokens"}, reservedParams...)
	for name := range paramForms {
		names = append(names, name)
	}
	values := []string{
		"true", "0", "1", "-1", "1.5", "1e3", "1024", "1025", "-0", "9223372036854775807", "9223372036854775808", "1000000000000000000000000000000000",
		`"x"`, `""`, `"1"`, "[]", "[1]", "{}", `{"a":1}`,
	}
	good, bad := 0, 0
	for _, name := range names {
		for _, value := range values {
			p, err := parseParams(fmt.Sprintf("{default: {%s: %s}}", name, value))
			if err != nil {
				bad++
				err := compile(&Params{Default: []ParamDefault{{name, json.RawMessage(value)}}})
				assert.Error(t, err, "the router would take %s: %s", name, value)
				continue
			}
			good++
			assert.NoError(t, compile(p), "the router refuses %s: %s", name, value)
		}
		_, err := parseParams("{drop: [" + name + "]}")
		assert.Equal(t, err == nil, compile(&Params{Drop: []string{name}}) == nil, "drop %s: %v", name, err)
	}
	require.Greater(t, good, 50)
	require.Greater(t, bad, 100)
}

func TestParamsTogether(t *testing.T) {
	f := func(params string, good bool) {
		t.Helper()
		p, err := parseParams(params)
		assert.Equal(t, good, err == nil, err)
		if err == nil {
			assert.NoError(t, compile(p), params)
		}
	}
	many := func(n int) (list string) {
		for i := range n {
			list += fmt.Sprintf("p%d, ", i)
		}
		return list
	}
	f("{}", true)
	f("{drop: ["+many(maxParams)+"]}", true)
	f("{drop: ["+many(maxParams+1)+"]}", false)
	f("{drop: ["+many(maxParams-1)+"], default: {a: 1}, cap: {a: 1}}", true)
	f("{drop: ["+many(maxParams-1)+"], default: {a: 1}, cap: {b: 1}}", false)
	f("{default: {seed: 1}, cap: {seed: 1}}", true)
	f("{default: {seed: 1.01}, cap: {seed: 1}}", false)
	f("{default: {seed: one}, cap: {seed: 1}}", false)
	f("{default: {seed: 1}, cap: {Seed: 1}}", false)
	f("{default: {seed: 1, SEED: 1}}", false)
	f("{drop: [seed, Seed]}", false)
	f("{drop: [seed], cap: {Seed: 1}}", false)
	f("{cap: {seed: 10000000000000000000000000000000}}", true)
	f("{cap: {seed: 100000000000000000000000000000000}}", false)
}
