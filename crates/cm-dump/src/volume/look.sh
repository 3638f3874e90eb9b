if [ -z "$real" ]; then
  echo '{"missing": true, "empty": true}'
  exit
fi
inside "$real" 'empty=true unfinished=false
for one in * .[!.]* ..?*; do if [ -e "$one" ] || [ -L "$one" ]; then case $one in .cm_scratch_*) ;; .cm_old_*) unfinished=true ;; *) empty=false ;; esac; fi; done
printf "{\"empty\": %s, \"unfinished\": %s}\n" "$empty" "$unfinished"' < /dev/null
