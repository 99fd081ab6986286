#!/bin/sh
# Installs the Debian packages named, which the tests judge Slipway's work
# with; or, where it may not, prints the line that does.
set -eu
missing=
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
# QEMU 7.2, in Debian 12, emulates some code wrongly: kernels panic now and then. Its backports have a newer one.
. /etc/os-release 2>/dev/null || true
backports=
if [ "${ID:-} ${VERSION_ID:-}" = "debian 12" ] && ! qemu-system-x86_64 --version 2>/dev/null | grep -q 'version \(9\|1[0-9]\)\.'; then
	backports=bookworm-backports
	missing="$missing $(echo "$@" | tr ' ' '\n' | grep -E '^(qemu-|ovmf)' | tr '\n' ' ')"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "The tests need programs that are not here. On a Debian-like system, run as root:"
	echo "  apt-get update && apt-get install -y --no-install-recommends ${backports:+-t $backports }$missing"
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
if [ -n "$backports" ]; then
	# The mirror is the machine's own; its other sources stay as they are.
	list=$(mktemp --suffix=.list)
	trap 'rm -f "$list"' EXIT
	apt-get indextargets --format '$(SITE)' "Codename: bookworm" | sort -u | head -n 1 |
		sed "s|.*|deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] & $backports main|" >"$list"
	if apt-get update -q -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0; then
		apt-get install -q -y --no-install-recommends -o Dir::Etc::sourcelist="$list" -t $backports $missing
		exit 0
	fi
	echo "This machine's mirror has no $backports: going on with an old QEMU."
	missing=$(echo "$missing" | sed 's/qemu-system-s390x/qemu-system-misc/')
fi
apt-get install -q -y --no-install-recommends $missing
