//! The world as it is: the device's files, sockets and clocks.
//!
//! **Invariant:** nothing here waits longer than its limit, and the end of the service does not wait for any of it.

use super::link::{Files, Link};
use super::options::Options;
use super::payload::{Seen, View};
use super::service::{Opened, World};
use crate::notices::Queue;
use alm_state::{Stamp, States, Store, Time};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the states are believed where their directories have not changed: a file may be written in place, and a run is
/// lost by time alone.
const BELIEVED: Duration = Duration::from_secs(15);
/// A clock that went so much further than time did was put right.
const STEP: u64 = 60;
/// How often an attempt that is waited for is seen to.
const SHORTLY: Duration = Duration::from_millis(50);

pub(super) struct Device<'a> {
    options: &'a Options,
    store: Store,
    started: Instant,
    stop: Arc<AtomicBool>,
    /// There is nobody to take leave of: the service may end in whatever it does.
    is_alone: Arc<AtomicBool>,
    link: Option<Link>,
    seen: Option<Look>,
    pub(super) notices: Option<Queue>,
}

/// A look at the states.
struct Look {
    at: Duration,
    stamp: Stamp,
    /// The look before it found another stamp: what was written in the same moment may have been missed.
    is_sure: bool,
    states: States,
}

impl<'a> Device<'a> {
    pub(super) fn new(options: &'a Options) -> io::Result<Self> {
        let (stop, is_alone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 0, is_alone.clone())?;
            signal_hook::flag::register(signal, stop.clone())?;
        }
        let store = options.state.as_deref().map_or_else(Store::of_device, Store::at);
        Ok(Self { options, store, started: Instant::now(), stop, is_alone, link: None, seen: None, notices: None })
    }

    fn states(&mut self) -> &States {
        let (at, stamp) = (self.at(), self.store.stamp());
        let is_good = |seen: &Look| seen.stamp == stamp && seen.is_sure && at.saturating_sub(seen.at) < BELIEVED;
        if !self.seen.as_ref().is_some_and(is_good) {
            let is_sure = self.seen.as_ref().is_some_and(|seen| seen.stamp == stamp);
            self.seen = Some(Look { at, stamp, is_sure, states: self.store.read() });
        }
        &self.seen.get_or_insert_with(|| unreachable!("it was set")).states
    }
}

impl Device<'_> {
    /// What is to be done for the notices now. Between two of its steps this process may be ended; an attempt that is under
    /// way is waited for.
    fn attend_notices(&mut self) {
        let Some(mut queue) = self.notices.take() else { return };
        // Told to end in the middle, it ends after it.
        self.is_alone.store(false, Ordering::Relaxed);
        let (at, now, started) = (self.at(), self.now(), self.started);
        let states = queue.wants_states(at).then(|| self.states());
        let lines = queue.turn(states, at, now, || RandomState::new().hash_one(started));
        for line in lines {
            self.say(&line);
        }
        self.is_alone.store(self.link.is_none() && !queue.is_sending(), Ordering::Relaxed);
        self.notices = Some(queue);
    }

    /// Waits for the attempt that is under way; with `once` for all that are due. Whether nothing is left, where it matters.
    pub(super) fn finish_notices(&mut self, once: bool) -> bool {
        if once {
            self.attend_notices();
        }
        loop {
            let (at, is_stopped) = (self.at(), self.is_stopped());
            let Some(queue) = &mut self.notices else { return true };
            if !once || is_stopped {
                queue.stop();
            }
            if !queue.is_sending() && (!once || is_stopped || queue.is_done(at)) {
                return !once || queue.is_empty();
            }
            std::thread::sleep(SHORTLY);
            self.attend_notices();
        }
    }
}

impl World for Device<'_> {
    fn at(&self) -> Duration {
        self.started.elapsed()
    }

    fn now(&self) -> Time {
        Time::now()
    }

    fn wait(&mut self, time: Duration) -> bool {
        let (started, clock) = (Instant::now(), Time::now());
        while !self.is_stopped() && started.elapsed() < time {
            self.attend_notices();
            std::thread::sleep(Duration::from_secs(1).min(time.saturating_sub(started.elapsed())));
            if Time::now().since(clock) > started.elapsed().as_secs() + STEP {
                // Certificates that were not valid yet may be so now.
                break;
            }
        }
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> u64 {
        // std seeds it from the kernel, and each differs from the one before.
        RandomState::new().hash_one(self.started)
    }

    fn say(&mut self, line: &str) {
        let _ = writeln!(io::stderr(), "alm-agent: {line}");
    }

    fn view(&mut self) -> View {
        let now = self.now();
        let states = self.states();
        let see = |found: &alm_state::Found| Seen { lost: found.image.is_lost(), image: found.image.clone() };
        View { images: states.images.iter().map(see).collect(), containers: states.containers.clone(), now }
    }

    fn open(&mut self) -> Result<Opened, String> {
        let files = Files::read(self.options)?;
        self.link = Some(Link::open(self.options, &files, self.now())?);
        self.is_alone.store(false, Ordering::Relaxed);
        Ok(files.opened)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.link.as_mut().map_or(Ok(()), |link| link.send(bytes))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        self.attend_notices();
        self.link.as_mut().map_or(Ok(None), |link| link.receive(buffer))
    }

    fn close(&mut self) {
        self.link = None;
        let is_sending = self.notices.as_ref().is_some_and(Queue::is_sending);
        self.is_alone.store(!is_sending, Ordering::Relaxed);
    }
}
