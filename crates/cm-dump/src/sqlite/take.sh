# stdin goes on with the copy. It is put in the place of the database in one transaction: whoever has it open sees
# the old data or the new.
work=$(mktemp -d)
cat > "$work/copy"
whole "$work/copy"
restored "$database" "$work/copy"
whole "$database"
counts "$database"
