package helixflow

// Usage is what one answer cost, as the backend reported it. A plain value.
type Usage struct {
	InputTokens     int64 // prompt tokens, the cached ones included
	CachedTokens    int64 // prompt tokens the engine had in its prefix cache
	OutputTokens    int64 // generated tokens, the reasoning ones included
	ReasoningTokens int64
	Reported        bool // the backend said so; false means nothing is known
}

// Add adds what v reports.
func (u *Usage) Add(v Usage) {
	u.InputTokens += v.InputTokens
	u.CachedTokens += v.CachedTokens
	u.OutputTokens += v.OutputTokens
	u.ReasoningTokens += v.ReasoningTokens
	u.Reported = u.Reported || v.Reported
}
