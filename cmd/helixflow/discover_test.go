package main

// What was found joins what is configured, once and in bounds.

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow/configs"
)

func TestMerged(t *testing.T) {
	f := func(own, found []string, want ...string) {
		t.Helper()
		list := func(urls []string) (list []configs.Backend) {
			for _, url := range urls {
				list = append(list, configs.Backend{URL: url})
			}
			return list
		}
		var got []string
		for _, b := range merged(list(own), list(found)) {
			got = append(got, b.URL)
		}
		assert.Equal(t, want, got)
	}
	f(nil, nil)
	f([]string{"http://a:1"}, nil, "http://a:1")
	f([]string{"http://a:1"}, []string{"http://b:1", "http://A:1/", "http://b:1"}, "http://a:1", "http://b:1")
	f([]string{"http://[fd00::1]:80"}, []string{"http://[fd00:0:0::1]", "sim:x", "sim:x"}, "http://[fd00::1]:80", "sim:x")
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("http://gpu-%d:1", i))
	}
	f([]string{"http://a:1"}, many, append([]string{"http://a:1"}, many[:configs.MaxBackends-1]...)...)
}
