# stdin goes on with the copy.
work=$(mktemp -d)
cat > "$work/copy"
whole "$work/copy"
counts "$work/copy"
