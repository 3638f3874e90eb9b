[ -f "$database" ] || { echo "there is no file $database" >&2; exit 1; }
work=$(mktemp -d)
copied "$database" "$work/copy"
whole "$work/copy"
counts "$work/copy"
echo
cat "$work/copy"
