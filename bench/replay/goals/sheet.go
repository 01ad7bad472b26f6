package main

// What was measured, and against what.

import "fmt"

// sheet takes figures down. It prints them as they come.
type sheet struct{ missed int }

// level says what a missed figure means.
type level uint8

const (
	gated level = iota // the run fails
	aimed              // it is a goal that is known to be missed, or is no goal there
)

// atMost and atLeast note a figure that is to be on one side of a bound.
func (s *sheet) atMost(goal string, l level, what string, got, bound float64) {
	s.note(goal, l, what, got, "≤", bound, got <= bound)
}

func (s *sheet) atLeast(goal string, l level, what string, got, bound float64) {
	s.note(goal, l, what, got, "≥", bound, got >= bound)
}

func (s *sheet) note(goal string, l level, what string, got float64, sign string, bound float64, ok bool) {
	verdict := "reached"
	switch {
	case !ok && l == gated:
		verdict = "MISSED"
		s.missed++
	case !ok:
		verdict = "missed (not gated)"
	}
	fmt.Printf("%-3s %-66s %9.3f  %s %-6g %s\n", goal, what, got, sign, bound, verdict)
}

func (s *sheet) ok() bool {
	if s.missed > 0 {
		fmt.Printf("\n%d goals were missed\n", s.missed)
	}
	return s.missed == 0
}
