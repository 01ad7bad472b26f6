package configs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
)

// Key files: one key on each line, for those who have too many for the
// configuration. They are read line by line, with the same table and the same
// checks; nothing of a line stays here.

const maxKeyFiles = 64

// fileKey is a line of a key file.
type fileKey struct {
	Tenant string
	Key
}

func fileKeyKeys(k *fileKey) object {
	return append(object{
		{name: "tenant", value: text{&k.Tenant}, doc: "The name of one of the tenants.", required: true},
	}, apiKeyKeys(&k.Key)...)
}

// ReadKeyFiles reads the files of auth.key_files, one after the other, and hands
// each key with its tenant to add, which must not keep k nor anything in it, since
// the next line is read into the same one. What add returns is a problem of the
// line. The error is a Problems with all of them, of every file, up to a hundred;
// with it, nothing that was added may be used.
func (c *Config) ReadKeyFiles(add func(t *Tenant, k *Key) error) error {
	if len(c.Auth.KeyFiles) == 0 {
		return nil
	}
	r := newKeyReader(c, add)
	for _, path := range c.Auth.KeyFiles {
		r.file = path
		if err := r.readFile(path); err != nil {
			r.add(&Problem{Message: "cannot read the file: " + reason(err)})
		}
		if len(r.problems) >= maxProblems {
			break
		}
	}
	if len(r.problems) > 0 {
		return r.problems
	}
	return nil
}

// CountKeyLines is about how many keys the files have, to make room for them: as
// many as there are lines. A file that cannot be read has none.
func (c *Config) CountKeyLines() (lines int) {
	block := make([]byte, 256<<10)
	for _, path := range c.Auth.KeyFiles {
		f, err := openRegular(path)
		if err != nil {
			continue
		}
		for err == nil {
			var n int
			n, err = f.Read(block)
			lines += bytes.Count(block[:n], []byte{'\n'})
		}
		_ = f.Close()
	}
	return lines
}

// keyReader reads lines of keys.
type keyReader struct {
	*reader
	parser  lineParser
	line    fileKey // what keys fills in
	keys    object
	tenants map[string]*Tenant
	peppers []Pepper
	take    func(t *Tenant, k *Key) error
}

func newKeyReader(c *Config, take func(t *Tenant, k *Key) error) *keyReader {
	r := &keyReader{reader: newReader("", nil, nil), tenants: make(map[string]*Tenant, len(c.Tenants)), peppers: c.Auth.Peppers, take: take}
	r.keys = fileKeyKeys(&r.line)
	for i := range c.Tenants {
		r.tenants[c.Tenants[i].Name] = &c.Tenants[i]
	}
	return r
}

// openRegular opens a file that is one: a pipe would never end, or begin.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return os.Open(path)
}

// readFile reads the lines of one file.
func (r *keyReader) readFile(path string) error {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewReaderSize(f, maxLine)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			r.add(problemAt(place{number, 1}, "is longer than %s", formatSize(maxLine)))
			err = skipLine(lines)
		default:
			r.readLine(string(bytes.TrimSpace(line)), number)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.problems) >= maxProblems {
			r.add(problemAt(place{number, 1}, "and perhaps more problems from here on"))
			return nil
		}
	}
}

func skipLine(lines *bufio.Reader) error {
	for {
		if _, err := lines.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// readLine reads one line; an empty one is none.
func (r *keyReader) readLine(text string, number int) {
	if text == "" {
		return
	}
	before := len(r.problems)
	root, err := r.parser.parse(text, number)
	var wrong *jsonError
	if errors.As(err, &wrong) {
		r.add(problemAt(wrong.at, "%s", wrong.message))
		return
	}
	r.root = root
	r.line = fileKey{Key: defaultKey()}
	r.keys.decode(r.reader, root)
	t := r.check()
	if len(r.problems) == before {
		if err := r.take(t, &r.line.Key); err != nil {
			r.add(problemAt(root.at, "%s", err))
		}
	}
	if found := r.problems[before:]; len(found) > 0 {
		slices.SortStableFunc(found, func(a, b Problem) int { return a.Column - b.Column })
		clear(r.failed) // what is known is of this line
	}
}

// check checks the line, and returns its tenant.
func (r *keyReader) check() *Tenant {
	k := &r.line.Key
	name := at("name")
	r.identifier(k.Name, name)
	if k.Generate {
		r.wrong(at("generate"), "has no meaning in a key file")
		return nil
	}
	if k.Hash == "" {
		r.wrong(at("hash"), "is missing: write what `helixflow keys new` prints")
	}
	checkKey(r.reader, k, nil, r.peppers)
	r.limits(&k.Limits, at("limits"))
	t := r.tenants[r.line.Tenant]
	if tenant := at("tenant"); t == nil && !r.refused(tenant) {
		n, _ := r.find(tenant)
		r.wrong(tenant, "there is no tenant %s%s", n.shown(), n.suggest(r.someTenants()))
	}
	return t
}

// someTenants are candidates for a name that was meant.
func (r *keyReader) someTenants() (some []string) {
	const most = 1000
	for name := range r.tenants {
		if some = append(some, name); len(some) == most {
			break
		}
	}
	return some
}

// checkKeyFiles checks what names the files; what is in them is for ReadKeyFiles.
func checkKeyFiles(r *reader, files []string) {
	taken := names{}
	for i, file := range files {
		path := at("auth", "key_files", i)
		if strings.TrimSpace(file) == "" {
			r.wrong(path, "is empty")
		}
		taken.claim(r, file, path)
	}
	if len(files) > maxKeyFiles {
		r.wrong(at("auth", "key_files", maxKeyFiles), "there are more than %d", maxKeyFiles)
	}
}
