#!/usr/bin/env bash
# Makes a Debian package of what `make install` installs.
#
#   scripts/package.sh [DIRECTORY]     the package goes to DIRECTORY (default: dist)
#
# The programs are those in $BUILT (default: target/dist, where `make deb` builds them). The same commit, built by the
# same compiler, makes the same bytes: every time in the package is $SOURCE_DATE_EPOCH (default: the commit's), and no
# path of this machine is in it. DEB_MAINTAINER names who answers for it, DEB_COMPRESS how dpkg-deb compresses.
set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$(realpath -m "${1:-$root/dist}")
name=cm-deploy

version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

# The newest symbol of the C library that a program wants says which libc6 it runs with.
libc() { objdump -T "$@" | sed -n 's/.*(\?GLIBC_\([0-9.]*\).*/\1/p' | sort -Vu | tail -n 1; }

control() { # control DIRECTORY
  cat <<CONTROL
Package: $name
Version: $(version)
Architecture: $(dpkg --print-architecture)
Maintainer: ${DEB_MAINTAINER:-The cm authors <root@localhost>}
Installed-Size: $(du -sk --apparent-size "$1" | cut -f1)
Section: admin
Priority: optional
Depends: libc6 (>= $(libc "$1"/usr/bin/cm-*)), libgcc-s1, openssh-client, git
Suggests: docker.io | docker-ce
Description: deploy tools that compose
 Eight small programs that deploy a Docker Compose repository to a few servers
 over SSH: each does one step, reads a JSON document and writes it, extended.
 They touch only what changed, take a verified backup first, watch what they
 started, and roll back by themselves when a release is bad.
CONTROL
}

copyright() {
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: cm\n\n'
  printf 'Files: *\nCopyright: 2026 the cm authors\nLicense: MIT or Apache-2.0\n'
  sed 's/^$/./; s/^/ /' LICENSE
}

cd "$root"
# What does not come from a commit has no time of its own.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

stage=$work/stage
make --no-print-directory install DESTDIR="$stage" PREFIX=/usr BUILT="${BUILT:-target/dist}" >"$work/log" 2>&1 || {
  cat "$work/log" >&2
  exit 1
}
# Package tools want the pages packed, and without the time of packing in them.
find "$stage/usr/share/man" -type f -exec gzip -9n {} +
doc=$stage/usr/share/doc/$name
install -d "$doc" "$stage/DEBIAN"
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
install -m644 README.md "$doc/README.md"
copyright >"$doc/copyright"
strip --strip-unneeded "$stage"/usr/bin/cm-*
control "$stage" >"$stage/DEBIAN/control"
(cd "$stage" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
find "$stage" -print0 | xargs -0 touch -h -d "@$SOURCE_DATE_EPOCH"

mkdir -p "$out"
package=$out/${name}_$(version)_$(dpkg --print-architecture).deb
# shellcheck disable=SC2086
dpkg-deb --root-owner-group ${DEB_COMPRESS:--Zxz} --build "$stage" "$package" >/dev/null
printf '%s\n' "$package"
