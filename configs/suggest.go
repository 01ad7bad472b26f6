package configs

import "strings"

// Did you mean: the known word nearest to one that is not known.

// suggestMax bounds the words compared, since the cost is quadratic in length.
const suggestMax = 64

// suggest returns "; did you mean X?" for the candidate nearest to word, or
// nothing when none is near.
func suggest(word string, candidates []string) string {
	if word == "" || len(word) > suggestMax {
		return ""
	}
	w := fold(word)
	best, nearest := "", max(1, len(w)/3)
	for _, c := range candidates {
		if len(c) > suggestMax {
			continue
		}
		d := distance(w, fold(c))
		if cut := min(len(w), len(c)); cut >= 3 && w[:cut] == fold(c)[:cut] {
			d = min(d, 1) // one is the other's beginning
		}
		if d < nearest || d == nearest && best == "" {
			best, nearest = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + quote(best) + "?"
}

// fold makes words that differ in case or in dashes equal.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours (Damerau 1964).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
