package configs

import (
	"slices"
	"strings"
)

// websocketPaths are where passthrough turns on websockets.
var websocketPaths = []string{"/v1/realtime", "/v1/responses"}

func checkPassthrough(r *reader, list []Passthrough) {
	taken := names{}
	for i := range list {
		path := at("passthrough", i, "prefix")
		if !slices.Contains(websocketPaths, list[i].Prefix) {
			n, _ := r.find(path)
			r.wrong(path, "%s is not supported by this version, which takes %s%s", r.shown(path), strings.Join(websocketPaths, " and "), n.suggest(websocketPaths))
			continue
		}
		taken.claim(r, list[i].Prefix, path)
	}
}
