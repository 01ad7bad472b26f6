#!/usr/bin/env bash
# Runs k6 scripts of this folder against the quickstart router on free ports:
#
#   bench/k6/run.sh [-e NAME=VALUE]... [SCRIPT.js]...    smoke.js by default
#
# K6 and HELIXFLOW_BIN name binaries that were built before; `make k6` sets both.
set -euo pipefail
cd "$(dirname "$0")/../.."

k6=${K6:-bin/k6}
helixflow=${HELIXFLOW_BIN:-bin/helixflow}
patience=10 # seconds for the router to start

options=()
while (($# > 0)) && [[ $1 == -e ]]; do
	options+=(-e "${2:?-e wants NAME=VALUE}")
	shift 2
done
(($# > 0)) || set -- smoke.js

log=$(mktemp -d)
router=
finish() {
	local status=$?
	if [[ -n $router ]]; then
		kill "$router" 2>/dev/null || true
		wait "$router" || true
	fi
	if ((status != 0)); then cat "$log/stderr" >&2; fi
	rm -rf "$log"
}
trap finish EXIT

"$helixflow" serve -c configs/quickstart.yaml --listen 127.0.0.1:0 --admin 127.0.0.1:0 >"$log/stdout" 2>"$log/stderr" &
router=$!

# The key is printed last: once it is there, all is.
for ((i = 0; i < patience * 20; i++)); do
	key=$(grep -o 'sk-hfx_[[:alnum:]_]*' "$log/stdout" | head -n 1) || true
	[[ -z $key ]] || break
	kill -0 "$router"
	sleep 0.05
done
base=$(sed -n 's/^HelixFlow serves //p' "$log/stdout")
admin=$(sed -n 's/.*"msg":"serving".*"admin":"\([^"]*\)".*/\1/p' "$log/stderr")
[[ -n $key && -n $base && -n $admin ]] || {
	echo "run.sh: the router did not start" >&2
	exit 1
}

for script in "$@"; do
	echo "== $script against $base"
	K6_NO_USAGE_REPORT=true "$k6" run --quiet --no-color --address "" \
		-e "BASE_URL=$base" -e "ADMIN_URL=http://$admin" -e "API_KEY=$key" \
		"${options[@]}" "bench/k6/$script"
done
