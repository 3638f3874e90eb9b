#!/usr/bin/env bash
# Builds the programs for servers whose system is older than this machine's: they want the C library of 2012 (glibc 2.17,
# as RHEL 7 and Debian 8 have it) and nothing else. zig is the C compiler and the linker, because it knows the symbols of
# every version; scripts/setup.sh --portable fetches it.
#
#   scripts/portable.sh PROGRAM...     into target/portable; `make portable` names them all
#
# TARGET=aarch64-apple-darwin only type-checks them: a program for macOS is linked with Apple's libraries, which nobody else may hand
# on. What build scripts compile in C, zig compiles for macOS.
#
# TARGET is another target, such as x86_64-unknown-linux-musl, whose programs want no C library at all: they are put into
# target/portable/TARGET (`rustup target add TARGET` first). PROFILE is cargo's; dev takes a third of the time of dist.
# CM_COMMIT is the commit that `--version` names, RUSTFLAGS is the compiler's. A program that wants anything newer is an
# error.
set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
libc=2.17
tools=${XDG_CACHE_HOME:-$HOME/.cache}/cm-test/portable
profile=${PROFILE:-dist}

"$root/scripts/setup.sh" --portable
cd "$root"
(($#)) || {
  printf '[FAIL] no program is named: make portable\n' >&2
  exit 2
}

if [[ -n ${TARGET:-} ]]; then
  target=$TARGET asked=$TARGET into=target/portable/$TARGET
else
  target=$(rustc -vV | sed -n 's/^host: //p')
  asked=$target.$libc into=target/portable
fi
packages=()
for program; do packages+=(-p "$program"); done

if [[ $target == *-apple-darwin ]]; then
  # Build scripts call a C compiler with flags that only Apple's knows.
  wrapped=$(mktemp -d)
  trap 'rm -rf "$wrapped"' EXIT
  cat >"$wrapped/cc" <<'EOC'
#!/usr/bin/env bash
kept=() after=
for one; do
  case $after$one in
  -arch) after=arch= ;;
  arch=* | -mmacosx-version-min=* | -gfull | -gdwarf-* | --target=*) after= ;;
  *) kept+=("$one") ;;
  esac
done
exec python3 -m ziglang cc -target "$ZIG_TARGET" -g0 "${kept[@]}"
EOC
  printf '#!/bin/sh\nexec python3 -m ziglang ar "$@"\n' >"$wrapped/ar"
  chmod +x "$wrapped/cc" "$wrapped/ar"
  for name in "CC_${target//-/_}=cc" "CXX_${target//-/_}=cc" "AR_${target//-/_}=ar"; do
    export "${name%=*}=$wrapped/${name#*=}"
  done
  ZIG_TARGET=${target%%-*}-macos PYTHONPATH=$tools cargo check --profile "${PROFILE:-dev}" --target "$target" "${packages[@]}"
  printf '%s: type-checked, neither linked nor run\n' "$@"
  exit
fi

PYTHONPATH=$tools PATH=$tools/bin:$PATH \
  cargo zigbuild --profile "$profile" --target "$asked" "${packages[@]}"

directory=$profile
[[ $profile != dev ]] || directory=debug
built=${CARGO_TARGET_DIR:-target}/$target/$directory
mkdir -p "$into"
for program; do
  wants='no C library'
  if [[ $target == *-gnu ]]; then
    newest=$(objdump -T "$built/$program" | sed -n 's/.*(\?GLIBC_\([0-9.]*\).*/\1/p' | sort -Vu | tail -n 1)
    if [[ $(printf '%s\n' "$libc" "$newest" | sort -V | tail -n 1) != "$libc" ]]; then
      printf '[FAIL] %s wants glibc %s, newer than %s\n' "$program" "$newest" "$libc" >&2
      exit 1
    fi
    wants="glibc $newest or later"
  fi
  install -m755 "$built/$program" "$into/"
  printf '%s/%s (%s)\n' "$into" "$program" "$wants"
done
