//go:build !race

package testtiming

const slowdown = 1
