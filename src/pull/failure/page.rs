//! HTML pages in place of a message, as gateways, portals and proxies send them.
//!
//! **Invariant:** of a page only its title is shown, in one line; other text is not changed.

/// How a page begins, in lower case.
const BEGINNINGS: [&str; 5] = ["<!doctype", "<html", "<head", "<body", "<?xml"];

/// Whether a text is a page and nothing else.
pub(crate) fn is_page(text: &str) -> bool {
    let text = text.trim_start().as_bytes();
    BEGINNINGS.iter().any(|tag| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes())))
}

/// Where in a text a page begins.
fn beginning(text: &str) -> Option<usize> {
    // Only ASCII is changed, so that byte positions stay the same.
    let lower = text.to_ascii_lowercase();
    BEGINNINGS.iter().filter_map(|tag| lower.find(tag)).min()
}

/// A text in which a page, quoted or not, is replaced by its title.
pub(crate) fn cut_pages(text: &str) -> String {
    let Some(start) = beginning(text) else { return text.to_owned() };
    let end = text.rfind('>').map_or(text.len(), |at| at + 1).max(start);
    let before = text[..start].trim_end_matches(['"', '\'', ' ']);
    let rest = text[end..].trim_start_matches(['"', '\'', '\\', 'n', 'r']).trim();
    let mut short = before.to_owned();
    for part in [title(&text[start..end]).as_str(), rest] {
        if !part.is_empty() {
            if !short.is_empty() {
                short.push(' ');
            }
            short.push_str(part);
        }
    }
    short
}

/// A text in which a registry's errors, quoted as JSON, are replaced by the first one: `code: message`.
pub(crate) fn cut_json(text: &str) -> String {
    let Some(start) = text.find("{\"errors\":[") else { return text.to_owned() };
    let value = |key: &str| {
        let (_, rest) = text[start..].split_once(key)?;
        // Up to the first quotation mark that is not escaped.
        let end = rest.match_indices('"').map(|(at, _)| at).find(|at| !rest[..*at].ends_with('\\'))?;
        serde_json::from_str::<String>(&format!("\"{}\"", &rest[..end])).ok()
    };
    let code = value("\"code\":\"").unwrap_or_default().to_ascii_lowercase().replace('_', " ");
    let message = value("\"message\":\"").unwrap_or_default();
    format!("{}{code}: {message}", &text[..start])
}

/// The title of a page, else its heading, else its text.
pub(crate) fn title(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let element = |name: &str| {
        let open = lower.find(&format!("<{name}"))?;
        let start = open + lower[open..].find('>')? + 1;
        let end = lower[start..].find(&format!("</{name}")).map_or(lower.len(), |at| start + at);
        Some(text_of(&page[start..end])).filter(|text| !text.is_empty())
    };
    let found = ["title", "h1", "h2", "message", "code"].into_iter().find_map(element);
    found.unwrap_or_else(|| text_of(page).chars().take(100).collect())
}

/// The HTTP status that a title names.
pub(crate) fn status(title: &str) -> Option<u16> {
    // Not in a word: that is an address.
    let words = title.split_ascii_whitespace().map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    words.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok()).find(|number| (400..600).contains(number))
}

/// The text without tags, with single blanks; a quoted page contains blanks as `
/// `.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    for (at, part) in html.split('<').enumerate() {
        let plain = if at == 0 { part } else { part.split_once('>').map_or("", |(_, plain)| plain) };
        let plain = plain.replace("\\n", " ").replace("\\r", " ").replace("\\t", " ").replace("\\\"", "\"");
        for word in plain.split_whitespace() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_down_to_its_title() {
        let check = |page: &str, expected: &str| {
            assert!(is_page(page), "{page}");
            assert_eq!(title(page), expected, "{page}");
            assert_eq!(cut_pages(page), expected, "{page}");
        };
        check(
            "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n",
            "403 Forbidden",
        );
        check(
            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>x</h1></body></html>",
            "502 Bad Gateway",
        );
        check("<!DOCTYPE html>\n<html lang=en>\n<title>Error 403 (Forbidden)!!1</title>", "Error 403 (Forbidden)!!1");
        check("<HTML><TITLE>\n  Gateway\n  Timeout </TITLE></HTML>", "Gateway Timeout");
        check("<html><body>down for <b>maintenance</b></body></html>", "down for maintenance");
        check("<html><body><h1>403 Forbid", "403 Forbid");
        check("<html></html>", "");
    }

    #[test]
    fn a_quoted_page_within_a_reason_is_cut_too() {
        assert_eq!(
            cut_pages(
                r#"error parsing HTTP 502 response body: invalid character '<' looking for beginning of value: "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n""#
            ),
            "error parsing HTTP 502 response body: invalid character '<' looking for beginning of value: 502 Bad Gateway"
        );
        assert_eq!(cut_pages("StatusCode: 503, <html><h1>Sorry</h1></html>"), "StatusCode: 503, Sorry");
        assert_eq!(cut_pages("no page: a < b > c"), "no page: a < b > c");
        assert!(!is_page("error: <html>"));
    }

    #[test]
    fn errors_in_json_become_words() {
        let check = |text: &str, expected: &str| assert_eq!(cut_json(text), expected, "{text}");
        check(
            r#"unknown: {"errors":[{"code":"MANIFEST_UNKNOWN","message":"Unknown \"manifest\""}]}"#,
            "unknown: manifest unknown: Unknown \"manifest\"",
        );
        check(
            r#"denied: {"errors":[{"code":"DENIED","message":"client with IP \u0027::1\u0027 is not"}]}*"#,
            "denied: denied: client with IP '::1' is not",
        );
        check(r#"x: {"errors":[{"message":"cut off"#, "x: : ");
        check(r#"no errors: {"errors":null}"#, r#"no errors: {"errors":null}"#);
    }

    #[test]
    fn a_title_can_name_a_status() {
        assert_eq!(status("403 Forbidden"), Some(403));
        assert_eq!(status("Error 502 (Bad)"), Some(502));
        assert_eq!(status("403.example:404 | 522: Connection timed out"), Some(522));
        assert_eq!(status("Welcome to 10.0.0.1, port 8080"), None);
    }
}
