//! A response: the result is the same wherever the delivery breaks it, and that of `ureq-proto`.
//!
//! Where the two may differ: `ureq-proto` requires `\r
//! ` everywhere and no other `\r` in a line, at most 20 characters in a chunk's size line with its extension and at
//! most 128 header lines; it accepts `+5`, a `
//! ` before it and all Unicode blanks in a chunk's size; it accepts only tokens as header names, takes `101` as the
//! final head, refuses a `100` with headers, and does not decode chunks in HTTP/1.0, where they are an error. This
//! program refuses encodings that it did not ask for, a second Transfer-Encoding, contradicting Content-Lengths and
//! control characters in values. Refusing is always allowed in a head. The two must never see different bodies, and
//! this program must never see an end where `ureq-proto` sees none.

use super::Delivery;
use crate::docker::{HttpError as Error, Response};
use ureq_proto::client::{Call, RecvResponseResult, SendRequestResult};
use ureq_proto::http::{Request, Version};
use ureq_proto::{BodyMode, Error as Theirs};

pub fn run(data: &[u8]) {
    let delivery = Delivery::of(data);
    let whole = read([delivery.stream].into_iter());
    let in_pieces = read(delivery.pieces(usize::from).map(|(_, piece)| piece));
    assert_eq!(in_pieces, whole, "the delivery matters");
    assert_eq!(read(delivery.stream.chunks(1)), whole, "delivery byte by byte matters");
    compare(&whole, delivery.stream);
}

#[derive(Debug, PartialEq)]
enum End {
    Complete,
    /// The body ends only with the connection.
    Unframed,
    Open,
    Refused(String),
}

#[derive(Debug, PartialEq)]
struct Outcome {
    status: Option<u16>,
    /// Escaped, so that a finding can be read.
    body: String,
    end: End,
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut response, mut body, mut refused) = (Response::new(), Vec::new(), None::<Error>);
    for piece in pieces {
        let result = response.feed(piece, &mut |bytes| {
            assert!(!bytes.is_empty(), "an empty piece of body");
            body.extend_from_slice(bytes);
        });
        match &refused {
            Some(before) => assert_eq!(result.as_ref(), Err(before), "an error has to last"),
            None => refused = result.err(),
        }
    }
    let end = match (refused, response.is_complete(), response.is_unframed()) {
        (Some(error), false, false) => End::Refused(error.to_string()),
        (None, true, false) => End::Complete,
        (None, false, true) => End::Unframed,
        (None, false, false) => End::Open,
        state => panic!("two ends at once: {state:?}"),
    };
    if let End::Refused(reason) = &end {
        assert!(reason.bytes().all(|byte| matches!(byte, b' '..=b'~')), "not fit to be shown: {reason:?}");
    }
    let head = response.head();
    for text in head.into_iter().flat_map(|head| [&head.api_version, &head.server]).flatten() {
        assert!(!text.contains(|c: char| c.is_ascii_control() && c != '\t'), "a control character in {text:?}");
    }
    Outcome { status: head.map(|head| head.status), body: body.escape_ascii().to_string(), end }
}

fn compare(ours: &Outcome, stream: &[u8]) {
    let Some(theirs) = second_opinion(stream).transpose() else { return };
    match (theirs, &ours.end) {
        (Ok(theirs), End::Complete | End::Unframed) if theirs.end != End::Open => assert_eq!(*ours, theirs),
        // It waits for the `\r` that this program does not need, or for ever if one stands alone.
        (Ok(theirs), End::Complete | End::Unframed) => {
            let has_bare_return = stream.windows(2).any(|two| two[0] == b'\r' && two[1] != b'\n');
            assert!(has_bare_return || has_bare_feed(stream), "no end is there: {ours:?}, {theirs:?}");
        }
        (Ok(theirs), End::Open) => assert_eq!(theirs.end, End::Open, "the end was not seen: {ours:?}, {theirs:?}"),
        (Ok(theirs), End::Refused(reason)) => {
            // What follows a bare line end in the extension of a size belongs to it there, and is data here.
            let is_split = has_bare_feed(stream) && reason.starts_with("chunk ");
            assert!(
                theirs.end == End::Open || is_lawful(reason) || is_split,
                "refused what is right: {reason}, {theirs:?}"
            );
        }
        (Err(error), End::Complete | End::Open) if is_of_a_chunk(&error) => {
            assert!(has_bare_feed(stream) || has_long_size(stream), "{error:?} was not seen: {ours:?}");
        }
        (Err(_), _) => {}
    }
}

/// Whether `ureq-proto` may accept what this program refuses for this reason.
fn is_lawful(reason: &str) -> bool {
    reason.starts_with("header line ")
        || reason.starts_with("content length ")
        || reason.starts_with("status line ")
        || reason.starts_with("transfer encoding ")
        || reason.starts_with("content encoding ")
        || reason.strip_prefix("chunk size `").is_some_and(|size| !is_hex(size))
        || reason.starts_with("more than 16 interim")
        || reason.contains(" is longer than ")
}

/// Whether the text before the extension and the quote is a number, as a chunk's size is; blanks may follow it.
fn is_hex(quoted: &str) -> bool {
    let number = quoted.split(['`', ';']).next().unwrap_or_default().replace("\\t", " ");
    let number = number.trim_end();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_of_a_chunk(error: &Theirs) -> bool {
    matches!(error, Theirs::ChunkLenNotAscii | Theirs::ChunkLenNotANumber | Theirs::ChunkExpectedCrLf)
}

/// Whether a line ends with `
/// ` alone, even if a chunk before it ends with `\r`.
fn has_bare_feed(stream: &[u8]) -> bool {
    let mut found = stream.first() == Some(&b'\n') || stream.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r');
    let _ = Response::new().feed(stream, &mut |chunk| found |= chunk.ends_with(b"\r"));
    found
}

/// Whether a line is too long as a chunk's size for `ureq-proto`.
fn has_long_size(stream: &[u8]) -> bool {
    stream.split(|&byte| byte == b'\n').any(|line| line.len() > 20 && line[0].is_ascii_hexdigit())
}

/// The result of `ureq-proto`; `None` if its rules differ here.
fn second_opinion(stream: &[u8]) -> Result<Option<Outcome>, Theirs> {
    let request = Request::get("http://localhost/").body(()).expect("a request");
    let mut call = Call::new(request)?.proceed();
    call.write(&mut [0; 1024])?;
    let Ok(Some(SendRequestResult::RecvResponse(mut call))) = call.proceed() else {
        panic!("a request without a body is sent");
    };
    let mut rest = stream;
    let response = loop {
        let (used, response) = call.try_response(rest, false)?;
        rest = &rest[used..];
        match response {
            None if used == 0 => return Ok(Some(Outcome { status: None, body: String::new(), end: End::Open })),
            None => {}
            Some(response) => break response,
        }
    };
    let has_faulty_chunks =
        response.version() == Version::HTTP_10 && response.headers().contains_key("transfer-encoding");
    if response.status() == 101 || has_faulty_chunks {
        return Ok(None);
    }
    let status = Some(response.status().as_u16());
    let Some(RecvResponseResult::RecvBody(mut call)) = call.proceed() else {
        return Ok(Some(Outcome { status, body: String::new(), end: End::Complete }));
    };
    let (mut body, mut buffer) = (Vec::new(), vec![0; stream.len() + 1]);
    loop {
        let (used, written) = call.read(rest, &mut buffer)?;
        body.extend_from_slice(&buffer[..written]);
        rest = &rest[used..];
        if used == 0 {
            break;
        }
    }
    let end = match call.body_mode() {
        BodyMode::CloseDelimited => End::Unframed,
        _ if call.can_proceed() => End::Complete,
        _ => End::Open,
    };
    Ok(Some(Outcome { status, body: body.escape_ascii().to_string(), end }))
}
