//! Reads from an X.509 certificate what the service needs: its common name and its end.
//!
//! Neither rustls nor webpki returns these of one's own certificate. They are found by a walk over five elements of DER, for
//! which an X.509 crate would be many times this code. Nothing is verified here: that is the broker's task.
//!
//! **Invariant:** bytes that are no certificate return `None`, and never panic.

use alm_state::Time;

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, before the serial number of all but the oldest certificates.
const VERSION: u8 = 0xa0;
/// The string types that are read as UTF-8: `UTF8String`, `PrintableString`, `TeletexString`, `IA5String`.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
/// The object identifier 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

#[derive(Debug, PartialEq)]
pub(super) struct Facts {
    /// The subject's common name; the last if there are several.
    pub(super) name: Option<String>,
    /// `notAfter`: the certificate has expired after this.
    pub(super) end: Time,
}

/// Parses a certificate in DER.
pub(super) fn facts(der: &[u8]) -> Option<Facts> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (signed, _) = take(certificate, SEQUENCE)?;
    let rest = take(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, rest) = take(rest, INTEGER)?;
    let (_, rest) = take(rest, SEQUENCE)?;
    let (_, rest) = take(rest, SEQUENCE)?;
    let (validity, rest) = take(rest, SEQUENCE)?;
    let (subject, _) = take(rest, SEQUENCE)?;
    let end = first(first(validity)?.rest)?;
    Some(Facts { name: common_name(subject), end: time(end.tag, end.content)? })
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// The bytes after the element.
    rest: &'a [u8],
}

/// The content of the first element and the bytes after it; `None` if its tag is another.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    first(der).filter(|found| found.tag == tag).map(|found| (found.content, found.rest))
}

fn first(der: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

fn common_name(mut subject: &[u8]) -> Option<String> {
    let mut found = None;
    while let Some((mut set, rest)) = take(subject, SET) {
        subject = rest;
        while let Some((attribute, rest)) = take(set, SEQUENCE) {
            set = rest;
            if let Some((oid, rest)) = take(attribute, OID)
                && oid == COMMON_NAME
                && let Some(value) = first(rest)
                && TEXTS.contains(&value.tag)
            {
                found = std::str::from_utf8(value.content).ok().map(str::to_owned);
            }
        }
    }
    found
}

fn time(tag: u8, text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // RFC 5280: 50 and later are of the last century.
        UTC_TIME if text.len() == 12 => format!("{}{text}", if text < "5" { "20" } else { "19" }),
        GENERALIZED_TIME if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from, to| text.get(from..to).unwrap_or_default();
    let (date, clock) =
        ([part(0, 4), part(4, 6), part(6, 8)].join("-"), [part(8, 10), part(10, 12), part(12, 14)].join(":"));
    Time::parse(&format!("{date}T{clock}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    fn certificate(name: Option<&str>, end: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["pi-1.example".to_owned()]).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Fleet");
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.not_after = date_time_ymd(end, 12, 31);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn name_and_end_of_certificates_of_both_centuries_of_time() {
        for (year, end) in
            [(2026, "2026-12-31T00:00:00Z"), (2049, "2049-12-31T00:00:00Z"), (2050, "2050-12-31T00:00:00Z")]
        {
            let facts = facts(&certificate(Some("pi-1.example"), year)).expect("a certificate");
            assert_eq!((facts.name.as_deref(), facts.end.to_string().as_str()), (Some("pi-1.example"), end));
        }
        assert_eq!(facts(&certificate(None, 2030)).expect("a certificate").name, None);
    }

    #[test]
    fn what_is_cut_or_changed_is_nothing_or_a_certificate() {
        let der = certificate(Some("pi-1.example"), 2030);
        let whole = facts(&der);
        for end in 0..der.len() {
            assert_eq!(facts(&der[..end]), None, "{end}");
        }
        for at in 0..der.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] ^= bits;
                // It must not panic; what it returns is the same for changes in the key and the signature.
                if facts(&changed) != whole {
                    assert!(at < 200, "{at}");
                }
            }
        }
        assert_eq!(facts(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(facts(&[0x30, 0x80]), None);
    }

    #[test]
    fn times() {
        let check = |tag, text: &str, expected: Option<&str>| {
            assert_eq!(time(tag, text.as_bytes()).map(|time| time.to_string()).as_deref(), expected, "{text}");
        };
        check(UTC_TIME, "311125021833Z", Some("2031-11-25T02:18:33Z"));
        check(UTC_TIME, "991125021833Z", Some("1999-11-25T02:18:33Z"));
        check(GENERALIZED_TIME, "20511125021833Z", Some("2051-11-25T02:18:33Z"));
        check(UTC_TIME, "311325021833Z", None);
        check(UTC_TIME, "3111250218Z", None);
        check(UTC_TIME, "+11125021833Z", None);
        check(GENERALIZED_TIME, "20511125021833", None);
        check(GENERALIZED_TIME, "2051112502é33Z", None);
    }
}
