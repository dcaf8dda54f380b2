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

documented() {
    # It leaves a .yardoc where it runs.
    (cd "$dir" && puppet strings generate "$module/**/*.pp" --format json --out "$dir/strings.json") 2>&1 | tee "$dir/strings.log"
    grep -q alm_pull::by_architecture "$dir/strings.json"
    fails grep '\[warn\]' "$dir/strings.log"
}

scripts() { shellcheck -x -P SCRIPTDIR "$module"/files/*.sh; }

specs() { (cd "$module" && env -i PATH="$PATH" HOME="$dir/home" LANG=C.UTF-8 rspec --format documentation); }
