package tests

// A Markdown page as these tests see it: fenced blocks with the comment above
// them, links, headings.

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = ".." // of the repository

// block is one fenced block of a page.
type block struct {
	line   int
	lang   string // the info string
	note   string // the HTML comment directly above it
	text   string
	output string // of an sh block: the text block that follows it directly
}

var comment = regexp.MustCompile(`^<!-- (.*) -->$`)

// blocks returns the fenced blocks of a page, in order.
func blocks(page string) []block {
	var list []block
	var fence, note string
	adjacent := false // only blank lines since the block before
	for i, line := range strings.Split(page, "\n") {
		bare := strings.TrimSpace(line)
		ticks := bare[:len(bare)-len(strings.TrimLeft(bare, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
			list = append(list, block{line: i + 1, lang: bare[len(ticks):], note: note})
			note = ""
		case fence != "" && bare == fence:
			fence = ""
			if last := len(list) - 1; adjacent && last > 0 && list[last].lang == "text" && list[last-1].lang == "sh" {
				list[last-1].output = list[last].text
			}
			adjacent = true
		case fence != "":
			list[len(list)-1].text += line + "\n"
		case comment.MatchString(bare):
			note, adjacent = comment.FindStringSubmatch(bare)[1], false
		case bare != "":
			note, adjacent = "", false
		}
	}
	return list
}

// pages returns the paths of all documents, from the root.
func pages(t *testing.T) []string {
	t.Helper()
	list := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
	err := fs.WalkDir(os.DirFS(root), "docs", func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) == ".md" {
			list = append(list, name)
		}
		return err
	})
	require.NoError(t, err)
	return list
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

var (
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
	code     = regexp.MustCompile("`[^`]*`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks follows every link that stays inside the repository.
func TestLinks(t *testing.T) {
	for _, name := range pages(t) {
		prose := code.ReplaceAllString(fenced.ReplaceAllString(readPage(t, name), ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); !assert.NoError(t, err, "%s links to %s", name, m[1]) {
				continue
			}
			if anchor != "" {
				assert.Contains(t, anchors(readPage(t, target)), anchor, "%s links to %s", name, m[1])
			}
		}
	}
}

// anchors are the names GitHub gives to a page's headings.
func anchors(page string) []string {
	var list []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		name := noAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(name, " ", "-"))
	}
	return list
}

func TestBlocks(t *testing.T) {
	page := "a\n<!-- exit 1 -->\n```sh\nx \\\n  y\n```\n\n```text\nout\n```\n<!-- not run: why -->\n\n```yaml\nk: v\n```\nb\n```text\nz\n```\n"
	assert.Equal(t, []block{
		{line: 3, lang: "sh", note: "exit 1", text: "x \\\n  y\n", output: "out\n"},
		{line: 8, lang: "text", text: "out\n"},
		{line: 13, lang: "yaml", note: "not run: why", text: "k: v\n"},
		{line: 17, lang: "text", text: "z\n"},
	}, blocks(page))
}
