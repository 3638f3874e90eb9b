#!/usr/bin/env bash
# How fast cm-detect is, against `git diff --name-only` of the same revisions in the same run, and how much memory it
# takes: a made-up repository of 100,000 files and 60 services, and a diff of 500 files. Then the curve: the same with less
# and more of one thing, against itself, and how the time grows with it (0 not at all, 1 as much as it). Only the diff and
# the services may matter.
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

# repository NAME FILES COMMITS CHANGED [SERVICES] - makes $work/NAME, packed as a clone would be.
repository() {
  local directory=$work/$1 services=${5:-60}
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
# What the time grows with. The peer is cm-detect itself, on the large one.
repository files-1000 1000 100 500
repository files-10000 10000 100 500
repository history-1 100000 1 500
repository history-10000 100000 10000 500
repository services-5 100000 100 500 5
repository services-300 100000 100 500 300
repository diff-50 100000 100 50
curve=(large files-1000 files-10000 history-1 history-10000 services-5 services-300 diff-50)
for ((run = 0; run < runs; run++)); do
  for name in "${curve[@]}"; do
    timed "$work/$name.again" "$detect" --repo "$work/$name" --base base --head main
  done
done
# slope WHAT NAME LESS NAME MORE - the exponent with which the time grows from one to the other.
slope() {
  awk -v what="$1" -v less="$3" -v more="$5" -v a="$(three "$work/$2.again" | cut -d' ' -f1)" -v b="$(three "$work/$4.again" | cut -d' ' -f1)" \
    'BEGIN { printf "grows with %s by an exponent of %.2f (%s: %.0f ms, %s: %.0f ms)\n", what, log(b / a) / log(more / less), less, a, more, b }'
}
slope 'the files' files-1000 1000 large 100000
slope 'the history' history-1 1 history-10000 10000
slope 'the services' services-5 5 services-300 300
slope 'the diff' diff-50 50 large 500
row 'cm-detect: 1,000 files' ms "$work/files-1000.again" '100,000 files' "$work/large.again" '<=1.00'
row 'cm-detect: 10,000 files' ms "$work/files-10000.again" '100,000 files' "$work/large.again" '<=1.00'
row 'cm-detect: 10,000 commits of history' ms "$work/history-10000.again" 'one commit' "$work/history-1.again" '<=1.20'
row 'cm-detect: 300 services' ms "$work/services-300.again" '60 services' "$work/large.again" '<=5.00'
row 'cm-detect: a tenth of the diff' ms "$work/diff-50.again" '500 files changed' "$work/large.again" '<=1.00'
((missed == 0))
