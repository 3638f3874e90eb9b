#!/usr/bin/env bash
# Fails when something is committed that does not belong into a repository: what git ignores, what a program
# wrote while it ran, binaries, or a new file at the top level that nobody decided on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

top=(.ci .config .deny.toml .editorconfig .gitignore .typos.toml CHANGELOG.md CONTRIBUTING.md Cargo.lock Cargo.toml
  LICENSE Makefile README.md SECURITY.md crates man rustfmt.toml scripts tests)
status=0
complain() {
  printf '[FAIL] %s is committed: %s\n' "$1" "$2" >&2
  status=1
}

while IFS= read -r -d '' file; do complain "$file" 'git ignores it'; done < <(git ls-files -z --cached --ignored --exclude-standard)
while IFS= read -r entry; do
  grep -qxF "$entry" <(printf '%s\n' "${top[@]}") || complain "$entry" 'the top level has no such file; if it belongs there, add it to scripts/committed.sh'
done < <(git ls-files | cut -d/ -f1 | sort -u)
while IFS= read -r file; do
  complain "$file" 'a program wrote it'
done < <(git ls-files | grep -E '(^|/)(pid|core|nohup\.out|[^/]*\.(pid|log|tmp|orig|rej|swp|partial|pyc))$' || true)
exit "$status"
