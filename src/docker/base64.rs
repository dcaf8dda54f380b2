//! Base64, both alphabets (RFC 4648).
//!
//! **Invariant:** the output is always padded: an engine silently ignores credentials without padding or in the other
//! alphabet.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes for `auth` in docker's config.json.
pub(crate) fn standard(bytes: &[u8]) -> String {
    encode(bytes, STANDARD)
}

/// Encodes for `X-Registry-Auth`.
pub(crate) fn url_safe(bytes: &[u8]) -> String {
    encode(bytes, URL_SAFE)
}

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at| usize::from(*chunk.get(at).unwrap_or(&0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            text.push(if place > chunk.len() { '=' } else { alphabet[word >> (18 - 6 * place) & 63].into() });
        }
    }
    text
}

/// Decodes the standard alphabet. As in Go, padding is required and line ends are ignored.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(['\r', '\n'], "");
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text.strip_suffix("==").or(text.strip_suffix('=')).unwrap_or(&text);
    let mut bytes = Vec::with_capacity(body.len());
    for chunk in body.as_bytes().chunks(4) {
        let mut word = 0;
        for letter in chunk {
            word = word << 6 | STANDARD.iter().position(|known| known == letter)? as u32;
        }
        word <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_rfc_4648_has_it_and_as_go_takes_it() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("{}", "e30="),
        ] {
            assert_eq!(standard(plain.as_bytes()), coded);
            assert_eq!(url_safe(plain.as_bytes()), coded);
            assert_eq!(decode(coded).unwrap(), plain.as_bytes());
        }
        assert_eq!(url_safe(&[0xfb, 0xff, 0xfe]), "-__-");
        assert_eq!(standard(&[0xfb, 0xff, 0xfe]), "+//+");
        assert_eq!(decode("+//+"), Some(vec![0xfb, 0xff, 0xfe]));
        assert_eq!(decode("Zm9v\r\nYg==\n"), Some(b"foob".to_vec()));
        for wrong in ["Zg", "Zg=", "Z", "=", "====", "Z===", "Zg==Zg==", "-__-", "Zm 9", "Zmé="] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        for length in 0..300 {
            let bytes: Vec<u8> = (0..length).map(|at: u16| (at * 7 % 256) as u8).collect();
            assert_eq!(decode(&standard(&bytes)), Some(bytes));
        }
    }
}
