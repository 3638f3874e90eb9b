if [ -z "$real" ]; then
  printf '{"database": "%s", "missing": true, "empty": true}\n' "$volume"
  exit
fi
inside "$real" 'empty=true unfinished=false
for one in * .[!.]* ..?*; do if [ -e "$one" ] || [ -L "$one" ]; then case $one in .cm_scratch_*) ;; .cm_old_*) unfinished=true ;; *) empty=false ;; esac; fi; done
printf "{\"database\": \"%s\", \"empty\": %s, \"unfinished\": %s}\n" "$1" "$empty" "$unfinished"' "$volume" < /dev/null
