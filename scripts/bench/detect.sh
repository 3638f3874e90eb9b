#!/usr/bin/env bash
# How fast cm-detect is, against `git diff --name-only` of the same revisions in the same run, and how much memory it
# takes: a made-up repository of 100,000 files and 60 services, and a diff of 500 files. Then the same with a hundred
# times the history and with a tenth of the diff: only the last may matter.
#
#   scripts/bench/detect.sh            everything; exit status 1 when a limit is missed
#
# $CM_BIN_DIR is where cm-detect is; without it one is built as what is installed. $CM_BENCH_RUNS is how many runs a median is
# taken of (default 15). Medians of wall time from outside, the process's start included; peak memory from the kernel.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=lib.sh
. "$here/scripts/bench/lib.sh"
runs=${CM_BENCH_RUNS:-15}
services=60

for tool in git awk sort /usr/bin/time; do
  command -v "$tool" >/dev/null || fail "$tool is needed (apt-get install git mawk coreutils time)"
done
if [[ -z ${CM_BIN_DIR:-} ]]; then
  (cd "$here" && cargo build --quiet --profile dist -p cm-detect)
  CM_BIN_DIR=$here/target/dist
fi
detect=$CM_BIN_DIR/cm-detect
[[ -x $detect ]] || fail "there is no cm-detect in $CM_BIN_DIR"

work=$(mktemp -d)
# The runtime directory is in memory, as that of a login session is.
memory=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work" "$memory"' EXIT
# Nothing of this machine's configuration counts, and nothing is left behind on it.
export HOME=$work XDG_STATE_HOME=$work/state XDG_RUNTIME_DIR=$memory
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null

# history FILES COMMITS CHANGED - a stream for git fast-import: a first commit with FILES files over all services, COMMITS
# commits that change one file each, then (tag base) a last one that changes CHANGED files, evenly spread.
history() {
  awk -v files="$1" -v commits="$2" -v changed="$3" -v services="$services" '
    function path(i) {
      return sprintf("services/s%02d/%s/d%03d/f%06d.txt", i % services, i % 4 ? "src" : "docs", int(i / services / 40), i)
    }
    function write(where, text) { printf "M 100644 inline %s\ndata %d\n%s\n", where, length(text), text }
    function commit(name) {
      printf "commit refs/heads/main\nmark :%d\ncommitter A <a@example.org> %d +0000\ndata 1\nx\n", ++marks, 1700000000 + marks
    }
    BEGIN {
      commit()
      yaml = "services:\n"
      for (s = 0; s < services; s++) {
        name = sprintf("s%02d", s)
        yaml = yaml "  " name ":\n    build: {context: services/" name "}\n    environment: {A: \"1\"}\n    volumes: [\"./conf:/conf:ro\"]\n"
        write("services/" name "/Dockerfile", "FROM scratch AS deps\nCOPY package.json /\nFROM deps\nCOPY src /src\n")
        write("services/" name "/package.json", "{}")
        write("services/" name "/.dockerignore", "**/*.md\n**/node_modules\n*.log\n")
      }
      write("compose.yml", yaml)
      write("conf/a.conf", "a")
      for (i = 0; i < files; i++) write(path(i), i)
      for (c = 0; c < commits; c++) { commit(); write(path(c * 7919 % files), "c" c) }
      printf "reset refs/tags/base\nfrom :%d\n\n", marks
      commit()
      for (k = 0; k < changed; k++) write(path(int(k * files / changed) + k % 7), "changed " k)
    }'
}

# repository NAME FILES COMMITS CHANGED - makes $work/NAME, packed as a clone would be.
repository() {
  local directory=$work/$1
  git init -q --bare --initial-branch=main "$directory"
  history "$2" "$3" "$4" | git -C "$directory" fast-import --quiet --force
  git -C "$directory" gc --quiet
}

# peak COMMAND... - the most memory it has at once, in KiB.
peak() {
  /usr/bin/time -f %M -o "$work/peak" "$@" </dev/null >/dev/null 2>&1
  tail -n 1 "$work/peak"
}

# measure NAME TEXT LIMIT - both programs on the repository NAME, in turns; a row of the table.
measure() {
  local directory=$work/$1 run found
  found=$("$detect" --repo "$directory" --base base --head main </dev/null 2>/dev/null | grep -o '"action":"build"' | wc -l) || found=0
  ((found > 0)) || fail "cm-detect found nothing in $1"
  for ((run = -2; run < runs; run++)); do
    timed "$work/$1.peer" git -C "$directory" diff --name-only base main
    timed "$work/$1.own" "$detect" --repo "$directory" --base base --head main
    ((run >= 0)) || rm "$work/$1.peer" "$work/$1.own"
  done
  row "cm-detect: $2" ms "$work/$1.own" 'git diff --name-only' "$work/$1.peer" "$3"
}

repository large 100000 100 500
measure large '100,000 files, 100 commits, 500 changed' '<=1.30'
peak "$detect" --repo "$work/large" --base base --head main | awk '{ print $1 / 1024 }' >"$work/peak.mib"
row 'cm-detect: memory, 100,000 files' MiB "$work/peak.mib" - - '=<=100'
# What the time grows with: the diff, and neither files nor history. The peer is cm-detect itself.
repository old 100000 10000 500
repository little 100000 100 50
for ((run = 0; run < runs; run++)); do
  for name in large old little; do
    timed "$work/$name.again" "$detect" --repo "$work/$name" --base base --head main
  done
done
row 'cm-detect: a hundred times the history' ms "$work/old.again" 'the same files with 100 commits' "$work/large.again" '<=1.20'
row 'cm-detect: a tenth of the diff' ms "$work/little.again" 'the same files, 500 changed' "$work/large.again" '<=1.00'
((missed == 0))
