//! Names and comments in the terms of the field.

use super::*;

/// The code of a Rust file without its strings and comments, and its comments without what stands in backticks.
fn code_and_comments(text: &str) -> (String, String) {
    let (mut code, mut comments, mut rest) = (String::new(), String::new(), text);
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
        let end = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            comments.extend(rest[..end].split('`').step_by(2));
            comments.push('\n');
            end
        } else if let Some(hashes) = raw.filter(|&hashes| rest[1 + hashes..].starts_with('"')) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            rest[start..].find(&close).map_or(rest.len(), |end| start + end + close.len())
        } else if first == '"' {
            let mut is_escaped = false;
            let is_end = |c: char| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            };
            rest[1..].find(is_end).map_or(rest.len(), |end| end + 2)
        } else if ["'\"'", "'\\\"'"].iter().any(|quote| rest.starts_with(quote)) {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else {
            // The whole of a word, or one character.
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let end = word.max(first.len_utf8());
            code.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        };
        code.push(' ');
        rest = &rest[end..];
    }
    (code, comments)
}

/// The words of which an identifier is made, in lower case: of `is_told` and of `IsTold` these are `is` and `told`.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in identifier.chars() {
        if c == '_' || c.is_uppercase() && parts.last().is_some_and(|part| part.ends_with(char::is_lowercase)) {
            parts.push(String::new());
        }
        parts.last_mut().expect("one at least").extend(c.to_lowercase().filter(|c| *c != '_'));
    }
    parts
}

/// In comments most words of the lists for names are plain English; these are not, of a program that reads and writes.
const IN_COMMENTS: &str = "story stories tell tells told telling pace paces glyph glyphs patience";

fn has(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|listed| listed == word)
}

#[test]
fn names_and_comments_are_in_the_terms_of_the_field() {
    // In names each word has its term: session, emit, throttle, pause, charset, write policy, request, pending, poll, max, min.
    // `context` is docker's own word, and `rest` and `text` are names of values everywhere; files and types are not called so.
    // The last five are for what was found out, received, kept, reported and decided.
    let in_names = "story stories tell tells told telling give gives giving way ways pace paces glyph glyphs patience patient \
                    question questions came look looks looked most least learned heard said judgement judgment";
    // MQTT's own.
    let of_others = "AtMostOnce AtLeastOnce";
    let as_files = "context text rest look way story tell give pace patience glyphs questions";
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut wrong = Vec::new();
    let folders = ["src", "crates", "tests/it", "fuzz/src"];
    let paths = folders.iter().flat_map(|folder| files(&root().join(folder)));
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let text = fs::read_to_string(&path).expect("a source file");
        let shown = path.display();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if has(as_files, &stem) {
            wrong.push(format!("{shown}: the name of the file"));
        }
        let (code, comments) = code_and_comments(&text);
        let names: BTreeSet<&str> = code.split(|c| !is_word(c)).collect();
        let names = names.into_iter().filter(|name| !has(of_others, name));
        let names = names.filter(|name| parts(name).iter().any(|part| has(in_names, part)));
        wrong.extend(names.map(|name| format!("{shown}: the name {name}")));
        let words = comments.split(|c| !is_word(c)).filter(|word| has(IN_COMMENTS, &word.to_lowercase()));
        wrong.extend(words.map(|word| format!("{shown}: a comment with «{word}»")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names that a script of the shell, of Python, Ruby or Puppet defines: functions and variables.
fn defined(script: &str) -> BTreeSet<&str> {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines
        .flat_map(|line| line.split("; "))
        .filter_map(|part| {
            let part = ["def ", "class ", "local ", "for ", "$"]
                .iter()
                .find_map(|word| part.strip_prefix(word))
                .unwrap_or(part);
            let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
            let (name, rest) = part.split_at(end);
            ["()", "(", "=", " = ", " += ", " in ", ", "].iter().any(|next| rest.starts_with(next)).then_some(name)
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn names_and_comments_of_scripts_are_in_the_terms_of_the_field() {
    let in_names =
        "story tell tells told give gives pace glyphs patience question came look looks least most heard said";
    let mut wrong = Vec::new();
    let mut count = 0;
    let top = root().join("build-rpi.sh");
    for path in ["deploy", "tests"].iter().flat_map(|folder| files(&root().join(folder))).chain([top]) {
        let shown = path.strip_prefix(root()).expect("below it").display().to_string();
        let ends = ["sh", "py", "rb", "pp", "epp"];
        let is_script =
            path.extension().is_some_and(|end| ends.iter().any(|known| end == *known)) || shown.ends_with("-configure");
        if !is_script || shown.contains("node_modules") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).expect("a script");
        let names = defined(&text).into_iter().filter(|name| parts(name).iter().any(|part| has(in_names, part)));
        wrong.extend(names.map(|name| format!("{shown}: the name {name}")));
        let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
        let words = comments.flat_map(|comment| comment.split(|c: char| !c.is_alphanumeric()));
        let words = words.filter(|word| has(IN_COMMENTS, &word.to_lowercase()));
        wrong.extend(words.map(|word| format!("{shown}: a comment with «{word}»")));
    }
    assert!(count > 20, "{count} scripts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_of_scripts_are_found() {
    let script = "# tell() {\nlook() { # X\n    local told=1; came=2\n    look x\ndef is_said(a):\n    least, most = 1, 2\n    for pace in x:\n$heard = 1\n";
    assert_eq!(defined(script), ["came", "heard", "is_said", "least", "look", "pace", "told"].into());
}

#[test]
fn names_and_comments_are_found_where_they_are() {
    let text = "/// A `told` b\nfn tell(c: char) -> bool { c == '\"' || \"told \\\" pace\".is_empty() || r#\"story \" x\"# != \"\" } // way\n";
    let (code, comments) = code_and_comments(text);
    assert!(code.contains("fn tell(c: char)") && code.contains("is_empty"), "{code}");
    assert!(!["told", "pace", "story"].iter().any(|word| code.contains(word) || comments.contains(word)), "{code}");
    assert_eq!(comments, "/// A  b\n// way\n");
    assert_eq!(parts("is_told"), ["is", "told"]);
    assert_eq!(parts("CannotTell"), ["cannot", "tell"]);
}
