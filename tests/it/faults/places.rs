//! Answers that stop: at the end of each chunk, and at random places.

use super::answer::{ANSWERS, Answer, Stop};
use super::{Dice, Fault};
use crate::support::Step;
use std::collections::BTreeSet;

/// All answers, stopped at the ends of their chunks and at `count` other places.
pub(super) fn faults(stop: Stop, count: usize) -> impl Iterator<Item = Fault> {
    ANSWERS
        .iter()
        .flat_map(move |answer| places(answer, count).into_iter().filter_map(move |place| at(answer, place, stop)))
}

/// The ends of head and chunks, and `count` other places (fewer if the answer is shorter).
fn places(answer: &Answer, count: usize) -> BTreeSet<usize> {
    let mut dice = Dice::new(&answer.name);
    let mut places: BTreeSet<usize> = answer.chunks.iter().copied().chain([answer.head]).collect();
    let all = (places.len() + count).min(answer.bytes.len());
    while places.len() < all {
        places.insert(dice.below(answer.bytes.len()));
    }
    places
}

fn at(answer: &Answer, place: usize, stop: Stop) -> Option<Fault> {
    let (kind, last) = match stop {
        // At its end a complete answer is not cut.
        Stop::Cut | Stop::Stall if answer.is_whole && place == answer.bytes.len() => return None,
        Stop::Cut => ("cut", None),
        Stop::Reset => ("reset", Some(Step::Reset)),
        Stop::Stall => ("stalled", Some(Step::Stall)),
    };
    let steps = std::iter::once(Step::Write(answer.bytes[..place].to_vec())).chain(last).collect();
    Some(Fault::of(kind, answer, &format!("at byte {place}"), steps, answer.until(place, stop)))
}

/// All answers complete: at once, byte by byte, and in pieces of any size.
pub(super) fn deliveries() -> impl Iterator<Item = Fault> {
    ANSWERS.iter().flat_map(|answer| {
        let mut dice = Dice::new(&answer.name);
        let mut pieces = Vec::new();
        let mut rest = answer.bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(300)));
            pieces.push(Step::Write(piece.to_vec()));
            rest = after;
        }
        let deliveries = [
            ("at once", vec![Step::Write(answer.bytes.clone())]),
            ("byte by byte", vec![Step::Trickle(answer.bytes.clone())]),
            ("in pieces", pieces),
        ];
        deliveries.map(|(delivery, steps)| Fault::of("delivered", answer, delivery, steps, answer.whole()))
    })
}
