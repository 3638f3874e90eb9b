# Learns values up to the line \002, then hides them in what comes after it.
# One that is no word of people stands for itself wherever it is.
function add(form, name, coded) {
    if (length(form) < 3 || form in names) return
    if (coded && length(form) >= 6) anywhere[form] = 1
    names[form] = name
    if (!(length(form) in count)) lengths[++sizes] = length(form)
    sized[length(form), ++count[length(form)]] = form
}
function chain(text, from, to,    at, out) {
    out = ""
    while ((at = index(text, from)) > 0) {
        out = out substr(text, 1, at - 1) to
        text = substr(text, at + length(from))
    }
    return out text
}
function hex(text,    i, out) {
    out = ""
    for (i = 1; i <= length(text); i++) out = out sprintf("%02x", code[substr(text, i, 1)])
    return out
}
function percent(text, format,    i, c, out) {
    out = ""
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        out = out (c ~ /[A-Za-z0-9._~-]/ ? c : sprintf(format, code[c]))
    }
    return out
}
# What base64 makes of it behind `skip` other bytes, as far as no neighbour has a say.
function base64(text, skip,    i, bits, held, out) {
    out = ""
    bits = 8 * skip
    held = 0
    for (i = 1; i <= length(text); i++) {
        held = held * 256 + code[substr(text, i, 1)]
        bits += 8
        while (bits >= 6) {
            bits -= 6
            out = out substr(digits, int(held / power[bits]) % 64 + 1, 1)
            held = held % power[bits]
        }
    }
    return substr(out, skip ? skip + 2 : 1)
}
function learn(name, value,    lines, i, n, coded) {
    if (length(value) < 3 || value ~ /^(true|false|yes|no|on|off|none|null|[0-9][0-9][0-9])$/) return
    if (length(value) < 16 && index(plain, value)) return
    add(value, name)
    # A value that is made of several, as in a list of arguments.
    if (value ~ /[ \t]/ && split(value, lines, /[ \t\n]+/) < 100)
        for (i = 1; i in lines; i++) if (length(lines[i]) >= 5) pieces_of[++loose] = name SUBSEP lines[i]
    split("", lines)
    n = split(value, lines, "\n")
    if (n > 1) for (i = 1; i <= n; i++) if (length(lines[i]) >= 6) add(lines[i], name)
    add(chain(chain(chain(value, "\\", "\\\\"), "\"", "\\\""), "\n", "\\n"), name)
    add(percent(value, "%%%02X"), name)
    add(percent(value, "%%%02x"), name)
    add(chain(percent(value, "%%%02X"), "%20", "+"), name)
    if (length(value) < 4 || length(value) > 65536) return
    coded = hex(value)
    add(coded, name, 1)
    add(toupper(coded), name, 1)
    for (i = 0; i < 3; i++) {
        coded = base64(value, i)
        if (length(coded) < 4) continue
        add(coded, name, 1)
        add(chain(chain(coded, "+", "-"), "/", "_"), name, 1)
    }
}
function keep(name, value) {
    kept[++pairs] = name
    values[pairs] = value
}
# Where the quote that `rest` begins with ends; 0 if it does not.
function closing(rest, quote,    i, c) {
    for (i = 2; i <= length(rest); i++) {
        c = substr(rest, i, 1)
        if (c == "\\" && quote == "\"") i++
        else if (c == quote) return i
    }
    return 0
}
function unescaped(text) {
    text = chain(chain(chain(text, "\\n", "\n"), "\\\"", "\""), "\\$", "$")
    return chain(text, "\\\\", "\\")
}
function setting(name, rest,    quote, end) {
    quote = substr(rest, 1, 1)
    if (quote == "\"" || quote == "'") {
        end = closing(rest, quote)
        if (!end) { open = name; held_back = rest; return }
        rest = substr(rest, 2, end - 2)
        keep(name, rest)
        if (quote == "\"") keep(name, unescaped(rest))
        return
    }
    keep(name, rest)
    sub(/[ \t]+#.*$/, "", rest)
    sub(/[ \t\r]+$/, "", rest)
    keep(name, rest)
}
function env_line(line,    name) {
    if (open != "") {
        name = open
        open = ""
        if (length(held_back) < 65536) setting(name, held_back "\n" line)
        return
    }
    if (line !~ /^[ \t]*(export[ \t]+)?[A-Za-z_][A-Za-z0-9_.-]*[ \t]*[=:]/) return
    sub(/^[ \t]*(export[ \t]+)?/, "", line)
    match(line, /^[A-Za-z0-9_.-]+/)
    name = substr(line, 1, RLENGTH)
    sub(/^[A-Za-z0-9_.-]+[ \t]*[=:][ \t]*/, "", line)
    setting(name, line)
}
function container_line(line,    at) {
    at = index(line, "=")
    if (line ~ /^[A-Za-z_][A-Za-z0-9_.-]*=/) {
        own = substr(line, 1, at - 1)
        if (own ~ /^(PATH|HOME|HOSTNAME|LANG|LC_ALL|PWD|SHLVL|TERM|GPG_KEY)$|_VERSION$/) { own = ""; return }
        keep(own, substr(line, at + 1))
    } else if (own != "") values[pairs] = values[pairs] "\n" line
}
function bounded(line, form, to,    at, out, before, after) {
    out = ""
    before = ""
    while ((at = index(line, form)) > 0) {
        if (at > 1) before = substr(line, at - 1, 1)
        after = substr(line, at + length(form), 1)
        if (before ~ /[A-Za-z0-9_]/ || after ~ /[A-Za-z0-9_]/) {
            out = out substr(line, 1, at)
            before = substr(line, at, 1)
            line = substr(line, at + 1)
        } else {
            out = out substr(line, 1, at - 1) to
            before = "}"
            line = substr(line, at + length(form))
        }
    }
    return out line
}
# A long value may be told in pieces, one a line.
function pieces(line,    n, words, i, j, form, long) {
    n = split(line, words, /[ \t]+/)
    for (i = 1; i <= n; i++) {
        if (length(words[i]) < 20) continue
        for (j = 1; j <= sizes && lengths[j] > length(words[i]); j++)
            for (k = 1; k <= count[lengths[j]]; k++) {
                form = sized[lengths[j], k]
                if (index(form, words[i])) { line = chain(line, words[i], "${" names[form] "}"); j = sizes; break }
            }
    }
    return line
}
function hidden(line,    i, k, form, size) {
    for (i = 1; i <= sizes; i++) {
        size = lengths[i]
        if (size > length(line)) continue
        for (k = 1; k <= count[size]; k++) {
            form = sized[size, k]
            if (!index(line, form)) continue
            line = (size < 8 && !(form in anywhere)) ? bounded(line, form, "${" names[form] "}") : chain(line, form, "${" names[form] "}")
        }
    }
    return (sizes && lengths[1] > 20) ? pieces(line) : line
}
function ready(    i, j, size) {
    for (i = 1; i <= pairs; i++) learn(kept[i], values[i])
    for (i = 1; i <= loose; i++) {
        split(pieces_of[i], j_parts, SUBSEP)
        learn(j_parts[1], j_parts[2])
    }
    for (i = 2; i <= sizes; i++) {
        size = lengths[i]
        for (j = i - 1; j && lengths[j] < size; j--) lengths[j + 1] = lengths[j]
        lengths[j + 1] = size
    }
}
BEGIN {
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (i = 1; i < 256; i++) code[sprintf("%c", i)] = i
    # Not `2 ^ i`: there are builds of busybox without it.
    power[0] = 1
    for (i = 1; i <= 24; i++) power[i] = power[i - 1] * 2
}
shows { print hidden($0); fflush(); next }
$0 == "\002" { ready(); shows = 1; next }
$0 == "\001" { kind = ""; open = own = ""; next }
kind == "" { kind = $0; if (kind == "file") keep("SECRET", ""); next }
kind == "plain" { plain = plain $0 "\n"; next }
kind == "env" { env_line($0); next }
kind == "container" { container_line($0); next }
kind == "file" { values[pairs] = values[pairs] (values[pairs] == "" ? "" : "\n") $0; next }
