package testtiming

// Rounds is n, or a tenth of it under the race detector: how often to do what one
// goroutine does alone, where the detector has nothing to find and takes ten times
// as long. All of n is done without it.
func Rounds(n int) int { return max(n/slowdown, 1) }
