//! Replaces `src/os/signals.rs`: no signal ever comes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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

pub(crate) fn continued() -> Arc<AtomicBool> {
    Arc::default()
}
