//! The service: connects, publishes, and reconnects when the connection is lost.
//!
//! Files, sockets and clocks are behind the trait [`World`], so that a test can simulate an hour without a network in no time:
//! `device` implements it for real, the tests with a script.
//!
//! **Invariant:** everything is published again on each connection, so a broker that lost its retained messages gets all of
//! them back.

use super::backoff::{self, Backoff};
use super::journal::Journal;
use super::options::{Address, Options};
use super::payload::{self, Topics, View, Who};
use super::planner::{Message, Planner};
use super::session::{Answer, ConnectOptions, End, Session, reason_text};
use alm_state::Time;
use std::time::Duration;

/// How long one wait of a service without a broker is.
const WAIT: Duration = Duration::from_mins(1);
/// How long the broker may take to confirm `offline` before the service ends anyway.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The service runs at least this long before it ends to have a renewed certificate read.
const MIN_UPTIME: Duration = Duration::from_hours(1);

/// The files, sockets and clocks of a device.
pub(super) trait World {
    /// The monotonic time since the service started.
    fn at(&self) -> Duration;
    /// The wall clock of this device, which may be wrong.
    fn now(&self) -> Time;
    /// Waits; shorter if the service has to end, or if the wall clock was corrected. Returns whether the service goes on.
    fn wait(&mut self, time: Duration) -> bool;
    /// Whether a signal asked the service to end.
    fn is_stopped(&self) -> bool;
    /// A uniformly distributed random number.
    fn random(&mut self) -> u64;
    /// Writes a line to the journal.
    fn log(&mut self, line: &str);
    /// The states of all images and containers.
    fn view(&mut self) -> View;
    /// Reads certificate and password from their files again, and connects.
    fn open(&mut self) -> Result<Identity, String>;
    fn send(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// The number of bytes received within one tick: `Some(0)` if none came, `None` if the broker closed the connection.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String>;
    fn close(&mut self);
}

/// Who this device is, from the files that were read for this connection.
pub(super) struct Identity {
    pub(super) device: String,
    pub(super) login: Option<(String, String)>,
    /// When the device's certificate expires.
    pub(super) end: Option<Time>,
}

/// How a connection ended.
enum Outcome {
    /// By a signal, or so that systemd starts the service again with a renewed certificate.
    Ended,
    /// With `--once`: the broker confirmed the state.
    Published,
    /// With `--once`: the broker refused the state.
    Refused,
    Lost {
        why: String,
        /// Whether the connection lasted for [`backoff::GOOD`] or longer.
        was_good: bool,
    },
}

/// Runs until [`World::is_stopped`]; returns the exit code.
pub(super) fn run(options: &Options, world: &mut impl World) -> u8 {
    let Some(broker) = &options.broker else {
        // Notices only: the world sends them while it waits.
        while !options.once && world.wait(WAIT) {}
        return 0;
    };
    let mut backoff = Backoff::default();
    let mut service = Service { options, broker, journal: Journal::default(), restart: None };
    loop {
        let outcome = service.serve_connection(world);
        world.close();
        match outcome {
            Outcome::Ended | Outcome::Published => return 0,
            Outcome::Refused => return 1,
            Outcome::Lost { why, .. } if options.once => {
                world.log(&format!("nothing was published to {broker}: {why}"));
                return 1;
            }
            Outcome::Lost { why, was_good } => {
                if was_good {
                    backoff.reset();
                }
                let line = format!("no connection to {broker}: {why}; it is tried again, at least every 5 minutes");
                if let Some(line) = service.journal.down(&line, world.at()) {
                    world.log(&line);
                }
                let wait = backoff.next(world.random());
                if !world.wait(wait) || service.is_over(world.at()) {
                    return 0;
                }
            }
        }
    }
}

struct Service<'a> {
    options: &'a Options,
    broker: &'a Address,
    journal: Journal,
    /// When the certificate expires, and when (of [`World::at`]) the service ends to get a renewed one: the credentials that
    /// systemd passes are copies, made when the service starts.
    restart: Option<(Time, Duration)>,
}

impl Service<'_> {
    fn is_over(&self, at: Duration) -> bool {
        self.restart.is_some_and(|(_, over)| over <= at)
    }

    /// Plans the restart for half of the certificate's remaining time, if the wall clock can be right.
    fn note_end(&mut self, end: Option<Time>, world: &impl World) {
        let now = world.now();
        if let Some(end) =
            end.filter(|end| now >= alm_state::BUILT && self.restart.is_none_or(|(known, _)| known != *end))
        {
            let over = world.at() + Duration::from_secs(end.since(now) / 2);
            self.restart = Some((end, over.max(MIN_UPTIME)));
        }
    }

    fn serve_connection(&mut self, world: &mut impl World) -> Outcome {
        let lost = |why: String| Outcome::Lost { why, was_good: false };
        let opened = match world.open() {
            Ok(opened) => opened,
            Err(why) => return lost(why),
        };
        self.note_end(opened.end, world);
        let topics = Topics::new(&self.options.topic, &opened.device);
        // A broker ends the older of two connections with one client identifier: `--once` must not end the service's.
        let client = if self.options.once { format!("{}-once", opened.device) } else { opened.device.clone() };
        let login = opened.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        let will = (!self.options.once).then_some(topics.online.as_str());
        let options = ConnectOptions { version: self.options.version, client: &client, login, will };
        let session = match Session::new(&options, world.at()) {
            Ok(session) => session,
            Err(end) => return lost(self.explain(&end, false)),
        };
        let who = Who { device: opened.device, site: self.options.site.clone() };
        let mut connection = Connection {
            session,
            topics,
            who,
            planner: Planner::default(),
            topic_sent: String::new(),
            since: None,
            is_online_sent: false,
            disconnecting: None,
        };
        loop {
            match self.turn(&mut connection, world) {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(why) => {
                    let was_good =
                        connection.since.is_some_and(|since| world.at().saturating_sub(since) >= backoff::GOOD);
                    return Outcome::Lost { why, was_good };
                }
            }
        }
    }

    /// One tick: sends what is pending, handles what was received, and publishes what is due.
    fn turn(&mut self, connection: &mut Connection, world: &mut impl World) -> Result<Option<Outcome>, String> {
        let output = connection.session.output();
        if !output.is_empty() {
            world.send(&output)?;
        }
        let mut buffer = [0; 1024];
        let received = world.receive(&mut buffer)?;
        let at = world.at();
        let result = match received {
            None => Err(End::Closed(0)),
            Some(count) => {
                connection.session.receive(&buffer[..count], at).and_then(|()| connection.session.advance(at))
            }
        };
        result.map_err(|end| self.explain(&end, connection.session.is_accepted()))?;
        if !connection.session.is_accepted() {
            return Ok(world.is_stopped().then_some(Outcome::Ended));
        }
        connection.since.get_or_insert(at);
        if let Some(answer) = connection.session.answer() {
            let outcome = self.answered(connection, answer, world);
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        if connection.disconnecting.is_some() || world.is_stopped() || self.is_over(at) {
            return Ok(connection.disconnect(self.options.once, world));
        }
        connection.publish_due(self.options.once, world).map_err(|end| self.explain(&end, true))?;
        Ok(None)
    }

    fn answered(&mut self, connection: &mut Connection, answer: Answer, world: &mut impl World) -> Option<Outcome> {
        let topic = std::mem::take(&mut connection.topic_sent);
        let (Options { once, version, .. }, broker) = (self.options, self.broker);
        let line = match answer {
            Answer::Refused(reason) => {
                let (words, device) = (reason_text(reason), &connection.who.device);
                let line = format!(
                    "{broker} refuses what this device says in {topic}: {words} ({reason}); it has to let {device} write there, see --topic and --device"
                );
                self.journal.failure(&line, world.at())
            }
            Answer::Accepted => {
                let Topics { online, state, .. } = &connection.topics;
                let line = format!("connected to {broker} by MQTT {version}, telling {state}");
                if topic == *online && connection.disconnecting.is_none() { self.journal.up(&line) } else { None }
            }
        };
        if let Some(line) = line {
            world.log(&line);
        }
        if !once {
            return None;
        }
        let at = world.at();
        let _ = connection.session.disconnect(at);
        let _ = world.send(&connection.session.output());
        Some(if answer == Answer::Accepted { Outcome::Published } else { Outcome::Refused })
    }

    fn explain(&self, end: &End, was_accepted: bool) -> String {
        match end {
            End::Refused(reason) => format!("the broker refuses this device: {} ({reason})", reason_text(*reason)),
            End::Closed(0) if !was_accepted => "the broker closed the connection without an answer".into(),
            End::Closed(0) => "the broker closed the connection".into(),
            End::Closed(reason) => format!("the broker ended the connection: {} ({reason})", reason_text(*reason)),
            End::Silent(what) => format!("no answer to {what}"),
            End::Broken(how) if was_accepted => format!("the broker does not speak as agreed ({how})"),
            End::Broken(how) => {
                format!("it does not answer as a broker of MQTT {} ({how}); see --mqtt", self.options.version)
            }
        }
    }
}

/// A connection to the broker, and what was published on it.
struct Connection {
    session: Session,
    topics: Topics,
    who: Who,
    planner: Planner,
    /// The topic of the publish that is not confirmed yet.
    topic_sent: String,
    /// When the broker accepted the connection.
    since: Option<Duration>,
    /// Whether `online` was published.
    is_online_sent: bool,
    disconnecting: Option<Disconnecting>,
}

/// The connection is being ended.
struct Disconnecting {
    /// When it is cut even if `offline` is not confirmed.
    due: Duration,
    is_offline_sent: bool,
}

impl Connection {
    fn publish(&mut self, topic: String, payload: &[u8], at: Duration) -> Result<(), End> {
        self.session.publish(&topic, payload, at)?;
        self.topic_sent = topic;
        Ok(())
    }

    /// Publishes `online` first, then state and progress as they are due.
    fn publish_due(&mut self, once: bool, world: &mut impl World) -> Result<(), End> {
        let at = world.at();
        let may_state = !self.session.is_waiting();
        if !once && !self.is_online_sent {
            self.is_online_sent = true;
            return self.publish(self.topics.online.clone(), payload::ONLINE.as_bytes(), at);
        }
        // The topic of the progress is the longer one.
        let max = self.session.max_payload(&self.topics.progress);
        for message in self.planner.plan(&self.who, &world.view(), max, may_state, at) {
            match message {
                Message::State(payload) => self.publish(self.topics.state.clone(), &payload, at)?,
                Message::Progress(payload) if !once => {
                    self.session.publish_qos0(&self.topics.progress, &payload, at)?;
                }
                Message::Progress(_) => {}
            }
        }
        Ok(())
    }

    /// Publishes `offline`, and disconnects once that is confirmed. If it is not confirmed in time, the connection is cut, and
    /// the broker publishes the will, which says the same.
    fn disconnect(&mut self, once: bool, world: &mut impl World) -> Option<Outcome> {
        let at = world.at();
        let disconnecting =
            self.disconnecting.get_or_insert(Disconnecting { due: at + DISCONNECT_LIMIT, is_offline_sent: once });
        if disconnecting.due <= at {
            return Some(Outcome::Ended);
        }
        if self.session.is_waiting() {
            return None;
        }
        if !disconnecting.is_offline_sent {
            disconnecting.is_offline_sent = true;
            let topic = self.topics.online.clone();
            return self.publish(topic, payload::OFFLINE.as_bytes(), at).is_err().then_some(Outcome::Ended);
        }
        let _ = self.session.disconnect(at);
        let _ = world.send(&self.session.output());
        Some(Outcome::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::options::Login;
    use crate::fleet::payload::Seen;
    use crate::fleet::session::Version;
    use alm_state::{Image, Status};
    use std::cell::Cell;

    const NOON: i64 = 1_795_000_000;

    /// A network that is up in some seconds and down in others, and a broker that accepts everything.
    struct Script {
        at: Cell<Duration>,
        /// Whether the network is up at a second.
        network: fn(u64) -> bool,
        /// How many seconds the device's clock is ahead of the right time, at a second.
        ahead: fn(u64) -> i64,
        end: Duration,
        certificate_end: Option<Time>,
        is_open: bool,
        answers: Vec<u8>,
        journal: Vec<(u64, String)>,
        tries: Vec<u64>,
        /// The packets that were sent: the second, the first byte, and the whole as text.
        sent: Vec<(u64, u8, String)>,
        refuse: Option<u8>,
        is_pulling: bool,
        tick: Duration,
    }

    impl Script {
        fn new(end: u64, network: fn(u64) -> bool) -> Self {
            Self {
                at: Cell::new(Duration::ZERO),
                network,
                ahead: |_| 0,
                end: Duration::from_secs(end),
                certificate_end: None,
                is_open: false,
                answers: Vec::new(),
                journal: Vec::new(),
                tries: Vec::new(),
                sent: Vec::new(),
                refuse: None,
                is_pulling: false,
                tick: Duration::from_millis(500),
            }
        }

        fn second(&self) -> u64 {
            self.at.get().as_secs()
        }

        fn is_network(&self) -> bool {
            (self.network)(self.second())
        }

        fn pass(&self, time: Duration) {
            self.at.set(self.at.get() + time);
        }

        fn sent_of(&self, text: &str) -> Vec<u64> {
            self.sent.iter().filter(|sent| sent.2.contains(text)).map(|sent| sent.0).collect()
        }
    }

    impl World for Script {
        fn at(&self) -> Duration {
            self.at.get()
        }

        fn now(&self) -> Time {
            Time(NOON + i64::try_from(self.second()).expect("seconds") + (self.ahead)(self.second()))
        }

        fn wait(&mut self, time: Duration) -> bool {
            self.pass(time);
            !self.is_stopped()
        }

        fn is_stopped(&self) -> bool {
            self.at.get() >= self.end
        }

        fn random(&mut self) -> u64 {
            (self.at.get().as_nanos() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }

        fn log(&mut self, line: &str) {
            self.journal.push((self.second(), line.to_owned()));
        }

        fn view(&mut self) -> View {
            let time = Time(NOON);
            let (status, text) =
                if self.is_pulling { (Status::Working, "Downloading") } else { (Status::Done, "Pulled") };
            let mut image =
                Image { v: 1, id: "app:1".into(), status, text: text.into(), time, since: time, ..Image::default() };
            image.current = self.is_pulling.then(|| self.second());
            View { images: vec![Seen { image, lost: false }], containers: vec![], now: self.now() }
        }

        fn open(&mut self) -> Result<Identity, String> {
            self.tries.push(self.second());
            self.pass(Duration::from_millis(100));
            if !self.is_network() {
                return Err("network is unreachable".into());
            }
            self.is_open = true;
            self.answers.clear();
            Ok(Identity { device: "pi-1".into(), login: None, end: self.certificate_end })
        }

        fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
            let second = self.second();
            self.sent.push((second, bytes[0], String::from_utf8_lossy(bytes).into_owned()));
            // A network that is down accepts what is sent, and returns nothing.
            if self.is_network() {
                match bytes[0] >> 4 {
                    1 => self.answers.extend([0x20, 3, 0, self.refuse.unwrap_or(0), 0]),
                    3 if bytes[0] & 6 != 0 => {
                        let head = 1 + bytes[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1;
                        let topic = usize::from(u16::from_be_bytes([bytes[head], bytes[head + 1]]));
                        self.answers.extend([0x40, 2, bytes[head + 2 + topic], bytes[head + 3 + topic]]);
                    }
                    12 => self.answers.extend([0xd0, 0]),
                    _ => {}
                }
            }
            Ok(())
        }

        fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
            self.pass(if self.answers.is_empty() { self.tick } else { Duration::from_millis(20) });
            let answers = std::mem::take(&mut self.answers);
            buffer[..answers.len()].copy_from_slice(&answers);
            Ok(Some(answers.len()))
        }

        fn close(&mut self) {
            self.is_open = false;
        }
    }

    fn options() -> Options {
        Options {
            broker: Some(Address { host: "b.example".into(), port: 8883 }),
            notify_file: None,
            test_notice: false,
            site: None,
            topic: "fleet".into(),
            ca: None,
            certificate: None,
            login: Some(Login { user: "pi-1".into(), password_file: "/nowhere".into() }),
            device: None,
            version: Version::Five,
            once: false,
            state: None,
        }
    }

    #[test]
    fn a_network_that_is_gone_for_an_hour() {
        let mut script = Script::new(10_000, |second| !(1_000..4_600).contains(&second));
        assert_eq!(run(&options(), &mut script), 0);
        // Noticed by a ping without an answer; then tried less and less often.
        let gone: Vec<u64> = script.tries.iter().copied().filter(|second| (1_000..4_600).contains(second)).collect();
        assert!((10..60).contains(&gone.len()), "{gone:?}");
        assert!(gone[0] > 1_000 && gone[0] < 1_180, "{gone:?}");
        // Back within five minutes, and everything is published again.
        let sent = script.sent_of("app:1");
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!((4_600..4_901).contains(&sent[1]), "{sent:?}");
        assert_eq!(
            script.sent_of("fleet/pi-1/onlineonline").len()
                + script.sent.iter().filter(|sent| sent.2.ends_with("online")).count(),
            2
        );
        let lines: Vec<&str> = script.journal.iter().map(|line| line.1.as_str()).collect();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[0].starts_with("connected to b.example:8883"), "{}", lines[0]);
        assert!(lines[1].contains("no answer to a ping"), "{}", lines[1]);
        assert!(lines[2].contains("network is unreachable"), "{}", lines[2]);
        assert!(lines[3].starts_with("connected"), "{}", lines[3]);
        // At the end the device publishes `offline` and disconnects.
        let last = &script.sent[script.sent.len() - 2..];
        assert!(last[0].2.ends_with("offline") && last[1].1 == 0xe0, "{last:?}");
    }

    #[test]
    fn a_network_that_swallows_what_is_sent_is_noticed_while_pulling() {
        // Progress is sent each second, so no ping is due: what is missing is the answer to a state.
        let mut script = Script::new(200, |second| second < 100);
        script.is_pulling = true;
        run(&options(), &mut script);
        let (second, line) = &script.journal[1];
        assert!(*second < 150 && line.contains("no answer to a publish"), "{:?}", script.journal);
        assert!(script.sent_of("/progress").len() > 100);
    }

    #[test]
    fn a_broker_that_refuses_is_asked_seldom_and_logged_once() {
        let mut script = Script::new(3_000, |_| true);
        script.refuse = Some(135);
        run(&options(), &mut script);
        assert!((8..40).contains(&script.tries.len()), "{:?}", script.tries);
        assert_eq!(script.journal.len(), 1, "{:?}", script.journal);
        assert!(script.journal[0].1.contains("refuses this device: not authorized (135)"));
    }

    #[test]
    fn it_ends_to_have_its_certificate_read_anew() {
        let ends = |days: i64| {
            let mut script = Script::new(u64::MAX, |_| true);
            script.certificate_end = Some(Time(NOON + days * 86_400));
            // Simulating five days in ticks of half a second would take too long.
            script.tick = Duration::from_secs(20);
            assert_eq!(run(&options(), &mut script), 0);
            assert!(script.sent.iter().any(|sent| sent.2.ends_with("offline")));
            script.second()
        };
        assert_eq!(ends(10) / 86_400, 5);
        // If it is about to expire, or has expired: once an hour.
        assert_eq!(ends(0) / 60, 60);
        assert_eq!(ends(-5) / 60, 60);
    }

    #[test]
    fn a_clock_that_steps_changes_nothing_and_a_wrong_one_is_not_believed() {
        let mut script = Script::new(30_000, |_| true);
        script.certificate_end = Some(Time(NOON + 10 * 86_400));
        script.ahead = |second| {
            if second < 100 {
                -NOON
            } else if second < 5_000 {
                0
            } else {
                86_400 * 3_650
            }
        };
        run(&options(), &mut script);
        let sent = script.sent_of("app:1");
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(script.sent_of(r#""clock":"wrong""#) == [sent[0]] && sent[1] < 110, "{sent:?}");
        assert_eq!(script.second(), 30_000);
        assert_eq!(script.tries.len(), 1);
    }

    #[test]
    fn once_publishes_and_ends() {
        let options = Options { once: true, ..options() };
        let mut script = Script::new(1_000, |_| true);
        assert_eq!(run(&options, &mut script), 0);
        assert_eq!((script.sent_of("app:1").len(), script.tries.len()), (1, 1));
        assert!(script.sent.iter().all(|sent| !sent.2.contains("line")), "neither online nor a will");
        let mut script = Script::new(1_000, |_| false);
        assert_eq!(run(&options, &mut script), 1);
        assert_eq!(script.tries.len(), 1);
    }
}
