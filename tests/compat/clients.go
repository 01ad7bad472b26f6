package compat

// The clients, and the versions that are pinned for them.

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Client is one library that applications use.
type Client struct {
	Name     string   // also of its test
	Runtime  string   // which of Runtimes it is installed in
	Driver   string   // the argument its program takes
	Packages []string // whose versions matter, as the runtime's lock names them; the client itself first
}

// Clients is the list, in the order of the documents.
var Clients = []Client{
	{"openai-python", "python", "openai", []string{"openai"}},
	{"openai-python-async", "python", "openai-async", []string{"openai"}},
	{"openai-node", "node", "openai", []string{"openai"}},
	{"openai-go", "go", "openai", []string{"github.com/openai/openai-go/v3"}},
	{"openai-java", "java", "openai", []string{"com.openai:openai-java"}},
	{"ai-sdk", "node", "ai-sdk", []string{"@ai-sdk/openai-compatible", "ai"}},
	{"langchain-python", "python", "langchain", []string{"langchain-openai", "langchain-core", "openai"}},
	{"langchain-js", "node", "langchain", []string{"@langchain/openai", "@langchain/core", "openai"}},
	{"llama-index", "llamaindex", "llamaindex", []string{"llama-index-llms-openai-like", "llama-index-core", "openai"}},
	{"go-openai", "go", "go-openai", []string{"github.com/sashabaranov/go-openai"}},
}

// lock is where a runtime's versions are pinned.
type lock struct {
	file string
	read func(data []byte, pkg string) string // the version, or ""
}

var locks = map[string]lock{
	"python":     {"python/requirements.txt", requirement},
	"llamaindex": {"python/llamaindex/requirements.txt", requirement},
	"node":       {"node/package-lock.json", nodeModule},
	"go":         {"go/go.mod", goModule},
	"java":       {"java/pom.xml", mavenArtifact},
}

// Pinned returns the versions that a client's lock file, in a folder below dir,
// says.
func (c *Client) Pinned(dir string) (map[string]string, error) {
	l := locks[c.Runtime]
	data, err := os.ReadFile(filepath.Join(dir, l.file))
	if err != nil {
		return nil, fmt.Errorf("cannot read the versions of %s: %w", c.Name, err)
	}
	versions := make(map[string]string)
	for _, pkg := range c.Packages {
		if versions[pkg] = l.read(data, pkg); versions[pkg] == "" {
			return nil, fmt.Errorf("cannot find %s in %s", pkg, l.file)
		}
	}
	return versions, nil
}

func requirement(data []byte, pkg string) string {
	return after(data, `(?m)^`+regexp.QuoteMeta(pkg)+`==([^\s;]+)`)
}

func goModule(data []byte, pkg string) string {
	return after(data, `(?m)^\s*(?:require )?`+regexp.QuoteMeta(pkg)+` v(\S+)`)
}

func mavenArtifact(data []byte, pkg string) string {
	group, artifact, _ := strings.Cut(pkg, ":")
	return after(data, `<groupId>`+regexp.QuoteMeta(group)+`</groupId>\s*<artifactId>`+
		regexp.QuoteMeta(artifact)+`</artifactId>\s*<version>([^<]+)</version>`)
}

func after(data []byte, pattern string) string {
	if found := regexp.MustCompile(pattern).FindSubmatch(data); found != nil {
		return string(found[1])
	}
	return ""
}

func nodeModule(data []byte, pkg string) string {
	var file struct {
		Packages map[string]struct{ Version string }
	}
	if json.Unmarshal(data, &file) != nil {
		return ""
	}
	return file.Packages["node_modules/"+pkg].Version
}
