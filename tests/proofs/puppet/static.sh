# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh that need no engine: static checks and the specs.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

parse() {
    find "$module" -name '*.pp' -exec puppet parser validate --confdir "$dir/conf" --vardir "$dir/var" {} +
    find "$module" -name '*.epp' -exec puppet epp validate --confdir "$dir/conf" --vardir "$dir/var" {} +
    find "$module" -name '*.yaml' -exec ruby -ryaml -e 'ARGV.each { |file| YAML.load_file(file, aliases: true) }' {} +
    ruby -rjson -e 'JSON.parse(File.read(ARGV[0]))' "$module/metadata.json"
}

lint() { (cd "$module" && puppet-lint --fail-on-warnings --relative .); }

# REFERENCE.md is what puppet-strings of Debian 12 makes of the comments, without blanks at the end of a line.
documented() {
    local sources="$module/{manifests,functions,types,lib}/**/*.{pp,rb}"
    cd "$dir" || return # it leaves a .yardoc where it runs
    puppet strings generate "$sources" --format json --out "$dir/strings.json" 2>&1 | tee "$dir/strings.log"
    grep -q alm_pull::by_architecture "$dir/strings.json"
    fails grep '\[warn\]' "$dir/strings.log"
    puppet strings generate "$sources" --format markdown --out "$dir/strings.md"
    sed -i 's/ *$//' "$dir/strings.md"
    [ -z "${UPDATE-}" ] || cp "$dir/strings.md" "$module/REFERENCE.md"
    diff "$module/REFERENCE.md" "$dir/strings.md" || { echo "To renew it: UPDATE=1 tests/proofs/puppet.sh 'static: documentation'"; return 1; }
}

scripts() { shellcheck -x -P SCRIPTDIR "$module"/files/*.sh; }

specs() { (cd "$module" && env -i PATH="$PATH" HOME="$dir/home" LANG=C.UTF-8 rspec --format documentation); }
