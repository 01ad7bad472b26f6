package configs

import (
	"bytes"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// TestSchemaFile also writes the file: go generate runs it with -update.
func TestSchemaFile(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile("schema.json", Schema(), 0o644))
	}
	file, err := os.ReadFile("schema.json")
	require.NoError(t, err)
	require.Equal(t, string(Schema()), string(file), "go generate ./configs writes it anew")
}

// compiled is the schema in another library than the one that wrote it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json") // checks it against the draft's own schema
	require.NoError(t, err)
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, data []byte) error {
	t.Helper()
	j, err := yaml.YAMLToJSON(bytes.TrimPrefix(data, []byte("\uFEFF"))) // the library takes the mark for text
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	require.NoError(t, err)
	return s.Validate(doc)
}

func TestSchemaAcceptsGoodFiles(t *testing.T) {
	s := compiled(t)
	for _, path := range files(t, 10, goodFiles...) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, validate(t, s, data), path)
	}
}

func TestSchemaRejects(t *testing.T) {
	s := compiled(t)
	for _, name := range []string{
		"unknown-key", "unknown-secret", "planned-keys", "missing-keys", "missing-name", "wrong-types", "text-number",
		"secret-list", "peppers-text", "headers-list", "bool", "size-unit", "size-small", "duration-no-unit", "duration-text",
		"duration-negative", "count-text", "count-float", "choice", "log-level", "tenants-empty", "models-empty",
		"backends-empty", "targets-many", "targets-none", "pepper-three", "pepper-zero", "key-expires", "grants-empty",
		"null-value", "not-a-mapping", "health-word", "health-count", "health-unknown", "ejection-range", "retry-attempts", "share-unit", "share-text",
		"share-digits", "keys-none", "keys-text", "target-weight", "params-name", "params-list", "params-many", "cap-text", "access-range",
		"jwt-empty", "jwt-unknown", "jwt-audience", "jwt-algorithms", "auth-order", "client-auth",
	} {
		data, err := os.ReadFile("testdata/bad/" + name + ".yaml")
		require.NoError(t, err)
		require.Error(t, validate(t, s, data), name)
	}
}

func TestSchemaTellsDefaults(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	f := func(want any, path ...string) {
		t.Helper()
		at := doc
		for _, name := range path {
			require.Contains(t, at, name)
			at = at.(map[string]any)[name]
		}
		require.EqualValues(t, want, at)
	}
	f("32MiB", "properties", "server", "properties", "max_body", "default")
	f("10m", "properties", "models", "items", "properties", "timeouts", "properties", "total", "default")
	f("adaptive", "properties", "pools", "items", "properties", "balance", "default")
}
