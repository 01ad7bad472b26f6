//go:build race

package buf

const raceBuild = true
