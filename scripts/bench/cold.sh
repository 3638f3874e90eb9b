#!/usr/bin/env bash
# What a cold build of the programs costs, and which dependency costs what: `cargo build --release --timings` into an empty
# directory, offline. Prints the crates that took longest, and those that others waited for longest. It takes minutes.
#
#   scripts/bench/cold.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
for command in cargo python3; do type -P "$command" >/dev/null || fail "$command is not installed"; done
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$here/../.."
packages=()
for program in cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record; do packages+=(-p "$program"); done
CARGO_TARGET_DIR=$directory timed "$directory/cold" cargo build --offline --release --timings "${packages[@]}"
python3 - "$directory"/cargo-timings/cargo-timing.html <<'PYTHON'
import json, re, sys

text = open(sys.argv[1]).read()
units = json.loads(re.search(r"UNIT_DATA = (\[.*?\]);\n", text, re.S).group(1))
crates = {}
for unit in units:
    crates[unit["name"]] = crates.get(unit["name"], 0) + unit["duration"]
ours = sum(seconds for name, seconds in crates.items() if name.startswith("cm-"))
total = sum(crates.values())
print(f"{len(crates)} crates, {total:.0f} s of compiling in all; of that cm's own {ours:.0f} s")
for name, seconds in sorted(crates.items(), key=lambda pair: -pair[1])[:20]:
    print(f"  {seconds:6.1f} s  {name}")
PYTHON
awk '{ print $1 / 1000 }' "$directory/cold" >"$directory/seconds"
row 'cold build of the programs (release)' s "$directory/seconds" - - '=<=900'
((missed == 0))
