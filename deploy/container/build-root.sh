#!/usr/bin/env bash
# Lays out the container image's root filesystem in a new directory, without a
# container engine: the static binary, certificate authorities, a user, and the
# quickstart. The Containerfile copies the very same tree; tests/deploy runs it.
#
#   deploy/container/build-root.sh DIR [BINARY]
#
# Without BINARY it builds one. SOURCE_DATE_EPOCH, if set, becomes every file's
# time, so that the same commit gives the same tree.
set -euo pipefail
umask 022

dir=${1:?usage: build-root.sh DIR [BINARY]}
binary=${2:+$(realpath -- "$2")}
mkdir -p -- "$dir"
root=$(realpath -- "$dir")
[[ -z $(ls -A -- "$root") ]] || {
	echo "build-root.sh: $dir is not empty" >&2
	exit 1
}
cd "$(dirname "$0")/../.."

authorities=/etc/ssl/certs/ca-certificates.crt
[[ -s $authorities ]] || {
	echo "build-root.sh: $authorities is missing: install ca-certificates" >&2
	exit 1
}

if [[ -n $binary ]]; then
	install -D -m 0755 -- "$binary" "$root/usr/local/bin/helixflow"
else
	make build BIN="$root/usr/local/bin/helixflow"
fi
install -D -m 0644 -- "$authorities" "$root$authorities"
install -D -m 0644 configs/quickstart.yaml "$root/etc/helixflow/quickstart.yaml"
install -D -m 0644 LICENSE "$root/usr/share/doc/helixflow/LICENSE"
cat >"$root/etc/passwd" <<'EOF'
root:x:0:0:root:/:/nonexistent
helixflow:x:65532:65532:helixflow:/:/nonexistent
EOF
cat >"$root/etc/group" <<'EOF'
root:x:0:
helixflow:x:65532:
EOF

if [[ -n ${SOURCE_DATE_EPOCH:-} ]]; then
	find "$root" -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
fi
