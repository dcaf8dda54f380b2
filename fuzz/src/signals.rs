//! Replaces `src/os/signals.rs`: no signal ever comes.

use crate::os::output::Output;
use std::ops::ControlFlow;

#[derive(Clone)]
pub(crate) struct Signals;

impl Signals {
    pub(crate) fn catch(_survive_hang_up: bool) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as the real one")]
    pub(crate) fn pending(&self) -> Option<i32> {
        None
    }

    #[expect(clippy::unused_self, reason = "as the real one")]
    pub(crate) fn go_on(&self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

pub(crate) struct Continued;

#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(dead_code, reason = "as the real one")]
pub(crate) enum Place {
    Same,
    Lost,
    Taken,
}

impl Continued {
    pub(crate) fn catch() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as the real one")]
    pub(crate) fn place(&self, _output: &Output) -> Place {
        Place::Same
    }
}
