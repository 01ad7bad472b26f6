package sim

// The words of an answer, one token at a time: filler that reads like prose, or
// pieces laid down beforehand.

import "strings"

// script yields the tokens of one choice. Not safe for concurrent use.
type script struct {
	pieces []string // what comes next; refilled with a sentence unless fixed
	fixed  bool
	size   int // bytes of each token, 0 as the words are
	rand   splitmix
}

var (
	adjectives = [...]string{" quiet", " small", " early", " patient", " bright", " steady", " narrow", " old"}
	nouns      = [...]string{" river", " engine", " garden", " harbour", " letter", " window", " signal", " road"}
	verbs      = [...]string{" follows", " carries", " meets", " crosses", " answers", " keeps", " finds", " leaves"}
)

// sentenceTokens is how many tokens a sentence of filler has, as has the opening.
const sentenceTokens = 7

// newProse returns an endless answer of the engine called name, and the length at
// which it would stop by itself, the end of a sentence.
func newProse(name string, seed uint64, size int) (s script, natural int) {
	s = script{rand: splitmix(seed), size: size}
	s.pieces = []string{"This", " is", " " + name + ",", " a", " simulated", " engine", "."}
	return s, sentenceTokens * (3 + s.rand.below(4))
}

// newFixed returns an answer of exactly this text, in tokens of four bytes.
func newFixed(text string) (s script, length int) {
	s.fixed = true
	for len(text) > bytesPerToken {
		s.pieces = append(s.pieces, text[:bytesPerToken])
		text = text[bytesPerToken:]
	}
	s.pieces = append(s.pieces, text)
	return s, len(s.pieces)
}

// next returns the next token, "" after the last one of a fixed text.
func (s *script) next() string {
	if s.size > 0 {
		return s.sized()
	}
	if len(s.pieces) == 0 {
		if s.fixed {
			return ""
		}
		pick := func(words []string) string { return words[s.rand.below(len(words))] }
		s.pieces = append(s.pieces, " The", pick(adjectives[:]), pick(nouns[:]), pick(verbs[:]), " the", pick(nouns[:]), ".")
	}
	token := s.pieces[0]
	s.pieces = s.pieces[1:]
	return token
}

func (s *script) sized() string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	i := s.rand.below(len(letters))
	if s.size == 1 {
		return letters[i : i+1]
	}
	return strings.Repeat(letters[i:i+1], s.size-1) + " "
}

// text returns the next n tokens as one string.
func (s *script) text(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(s.next())
	}
	return b.String()
}
