#!/bin/bash
# A man page out of the program's own words: man.sh EXECUTABLE [DATE]; its name is the page's. What the help text has no
# room for stands in NAME.1 beside this script.
# A heading of the help text is a line that begins with a word and a colon; usages and options stand before two blanks.
set -euo pipefail

[ $# = 1 ] || [ $# = 2 ] || { echo 'usage: man.sh EXECUTABLE [DATE]' >&2; exit 2; }
name=${1##*/} more=$(dirname "$0")/${1##*/}.1
version=$("$1" --version)
"$1" --help | awk -v name="$name" -v version="${version##* }" -v date="${2-}" -v more="$more" '
    function quoted(text) {
        gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); gsub(/^[.'\'']/, "\\\\\\&&", text)
        return text
    }
    function entry(text,  at) { # what is to be typed, two blanks or more, what it does
        at = match(text, /   *[^ ]/)
        print ".TP\n.B " quoted(at ? substr(text, 1, at - 1) : text)
        if (at) print quoted(substr(text, at + RLENGTH - 1))
    }
    NR == 1 {
        printf ".TH %s 1 \"%s\" \"%s\" \"User Commands\"\n.SH NAME\n", toupper(name), date, version
        summary = tolower(substr($0, 1, 1)) substr($0, 2)
        sub(/\.$/, "", summary)
        print quoted(name) " \\- " quoted(summary)
        next
    }
    /^[A-Z][a-z ]*:/ {
        section = toupper(substr($0, 1, index($0, ":") - 1))
        title = section == "USAGE" ? "SYNOPSIS" : section == "EXIT CODES" ? "EXIT STATUS" : section
        print ".SH " title
        sub(/^[^:]*: */, "")
        if ($0 == "") next
    }
    /^$/ { next }
    section == "USAGE" && /^[A-Z]/ { section = "DESCRIPTION"; print ".SH DESCRIPTION\n" quoted($0); next }
    section == "USAGE" { sub(/^ */, ""); entry($0); next }
    section == "EXIT CODES" { sub(/^ */, ""); gsub(/   */, "\n.br\n"); print (exits++ ? ".PP\n" : "") quoted($0); next }
    /^ *-.*[^ ]  |^ *-[^.;:]*$/ { sub(/^ */, ""); entry($0); next }
    /^ +[{"]/ { # JSON: as it stands
        if ($0 ~ /^ +\{/) print ".PP"
        sub(/^ */, "")
        print ".nf\n" quoted($0) "\n.fi"
        next
    }
    /^   / { sub(/^ */, ""); print quoted($0); next }
    { sub(/^ */, ""); print ".PP\n" quoted($0) }
    END {
        while ((getline line <more) > 0) print line
        if (name == "alm-agent") {
            print ".SH FILES\n.TP\n.I /etc/docker/certs.d\ncertificates for registries, as the engine has them"
            print ".SH ENVIRONMENT\n.TP\n.B SSL_CERT_FILE\nthe authorities to believe, in place of the system\\(aqs"
            print ".SH SEE ALSO\n.BR docker\\-pull\\-with\\-progress (1)," "\n.BR docker\\-pull (1)"
            exit
        }
        print ".SH FILES\n.TP\n.I /var/log/alm/docker\\-pull.log\nthe log, unless another is asked for"
        other = name == "alm-pull" ? "docker-pull-with-progress" : "alm-pull"
        print ".SH SEE ALSO\n.BR " quoted(other) " (1)," "\n.BR docker\\-pull\\-with\\-progress (5)," "\n.BR docker\\-pull (1)"
    }'
