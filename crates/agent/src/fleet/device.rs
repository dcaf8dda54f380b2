//! The real [`World`]: the device's files, sockets and clocks.
//!
//! **Invariant:** nothing here waits longer than its limit; and a signal that ends the service before it is connected ends it
//! at once.

use super::link::{Files, Link};
use super::options::Options;
use super::payload::{Seen, View};
use super::service::{Identity, World};
use crate::notices::Queue;
use alm_state::{Stamp, States, Store, Time};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the cached states are used if their directories have not changed. Not forever: a file may be rewritten in place,
/// and a run becomes lost by time alone.
const CACHE_LIFE: Duration = Duration::from_secs(15);
/// Seconds: if the wall clock gained more than this on the monotonic one, it was corrected.
const STEP: u64 = 60;
/// How often an attempt is polled while nothing else is left to do.
const POLL: Duration = Duration::from_millis(50);

pub(super) struct Device<'a> {
    options: &'a Options,
    store: Store,
    started: Instant,
    stop: Arc<AtomicBool>,
    /// While there is no connection, nothing has to be published at the end: a signal ends the process at once.
    is_alone: Arc<AtomicBool>,
    link: Option<Link>,
    cached: Option<Cached>,
    pub(super) notices: Option<Queue>,
}

/// The states as they were read last.
struct Cached {
    at: Duration,
    stamp: Stamp,
    /// Whether the stamp was the same one reading earlier; if it was not, a change in the same instant may have been missed.
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
        Ok(Self { options, store, started: Instant::now(), stop, is_alone, link: None, cached: None, notices: None })
    }

    fn states(&mut self) -> &States {
        let (at, stamp) = (self.at(), self.store.stamp());
        let is_good =
            |cached: &Cached| cached.stamp == stamp && cached.is_sure && at.saturating_sub(cached.at) < CACHE_LIFE;
        if !self.cached.as_ref().is_some_and(is_good) {
            let is_sure = self.cached.as_ref().is_some_and(|cached| cached.stamp == stamp);
            self.cached = Some(Cached { at, stamp, is_sure, states: self.store.read() });
        }
        &self.cached.get_or_insert_with(|| unreachable!("it was set")).states
    }
}

impl Device<'_> {
    /// Does what is due for the notices, without waiting. Not while an attempt runs, but otherwise a signal may end the
    /// process between two calls.
    fn serve_notices(&mut self) {
        let Some(mut queue) = self.notices.take() else { return };
        // A signal during the call only sets the flag.
        self.is_alone.store(false, Ordering::Relaxed);
        let (at, now, started) = (self.at(), self.now(), self.started);
        let states = queue.wants_states(at).then(|| self.states());
        let lines = queue.turn(states, at, now, || RandomState::new().hash_one(started));
        for line in lines {
            self.log(&line);
        }
        self.is_alone.store(self.link.is_none() && !queue.is_sending(), Ordering::Relaxed);
        self.notices = Some(queue);
    }

    /// Waits for the attempt that runs, or with `once` until nothing is due. Returns whether, with `once`, nothing is left.
    pub(super) fn finish_notices(&mut self, once: bool) -> bool {
        if once {
            self.serve_notices();
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
            std::thread::sleep(POLL);
            self.serve_notices();
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
            self.serve_notices();
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
        // std seeds it from the kernel, and no two are alike.
        RandomState::new().hash_one(self.started)
    }

    fn log(&mut self, line: &str) {
        let _ = writeln!(io::stderr(), "alm-agent: {line}");
    }

    fn view(&mut self) -> View {
        let now = self.now();
        let states = self.states();
        let see = |found: &alm_state::Found| Seen { lost: found.image.is_lost(), image: found.image.clone() };
        View { images: states.images.iter().map(see).collect(), containers: states.containers.clone(), now }
    }

    fn open(&mut self) -> Result<Identity, String> {
        let files = Files::read(self.options)?;
        self.link = Some(Link::open(self.options, &files, self.now())?);
        self.is_alone.store(false, Ordering::Relaxed);
        Ok(files.opened)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.link.as_mut().map_or(Ok(()), |link| link.send(bytes))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        self.serve_notices();
        self.link.as_mut().map_or(Ok(None), |link| link.receive(buffer))
    }

    fn close(&mut self) {
        self.link = None;
        let is_sending = self.notices.as_ref().is_some_and(Queue::is_sending);
        self.is_alone.store(!is_sending, Ordering::Relaxed);
    }
}
