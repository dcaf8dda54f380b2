//! The service: connects, tells, and comes back when the connection is lost.
//!
//! What it needs of the world is a trait, so that an hour without a network takes a test no time: files, sockets and clocks
//! are in `device`, another set in the tests.
//!
//! **Invariant:** all is told again on each connection, so the broker keeps nothing that cannot come back.

use super::backoff::{self, Backoff};
use super::journal::Journal;
use super::options::{Address, Options};
use super::payload::{self, Topics, View, Who};
use super::planner::{Planner, Say};
use super::session::{Answer, End, Hello, Session, words};
use alm_state::Time;
use std::time::Duration;

/// How long a last word may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// A service that ends to read a renewed certificate has run so long at least.
const LEAST_LIFE: Duration = Duration::from_hours(1);
/// Where there is no broker, some time that is waited, again and again.
const A_WHILE: Duration = Duration::from_mins(1);

/// Files, sockets and clocks.
pub(super) trait World {
    /// The time since the start.
    fn at(&self) -> Duration;
    /// What the clock of this device shows.
    fn now(&self) -> Time;
    /// Waits, in vain where the service is told to end or the clock was put right; whether it goes on.
    fn wait(&mut self, time: Duration) -> bool;
    /// Whether the service is told to end.
    fn is_stopped(&self) -> bool;
    /// A random number.
    fn random(&mut self) -> u64;
    /// Writes a line to the journal.
    fn say(&mut self, line: &str);
    /// How the images stand.
    fn view(&mut self) -> View;
    /// Reads certificate and password anew, and connects.
    fn open(&mut self) -> Result<Opened, String>;
    fn send(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// What has come within a short time; nothing is `Some(0)`, `None` the end.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String>;
    fn close(&mut self);
}

/// Who this device is, by what was read for a connection.
pub(super) struct Opened {
    pub(super) device: String,
    pub(super) login: Option<(String, String)>,
    /// When the certificate ends.
    pub(super) end: Option<Time>,
}

/// How a connection ended.
enum Outcome {
    /// As it was told to, or to have its certificate read anew.
    Left,
    /// With `--once`: all was said.
    Told,
    /// With `--once`: the broker did not take it.
    Refused,
    Lost {
        why: String,
        /// Whether it had lasted.
        was_good: bool,
    },
}

/// Runs until it is told to end; the exit code.
pub(super) fn run(options: &Options, world: &mut impl World) -> u8 {
    let Some(broker) = &options.broker else {
        // Notices alone, which the world sends while it waits.
        while !options.once && world.wait(A_WHILE) {}
        return 0;
    };
    let mut backoff = Backoff::default();
    let mut service = Service { options, broker, journal: Journal::default(), life: None };
    loop {
        let outcome = service.connection(world);
        world.close();
        match outcome {
            Outcome::Left | Outcome::Told => return 0,
            Outcome::Refused => return 1,
            Outcome::Lost { why, .. } if options.once => {
                world.say(&format!("nothing told to {broker}: {why}"));
                return 1;
            }
            Outcome::Lost { why, was_good } => {
                if was_good {
                    backoff.reset();
                }
                let line = format!("no connection to {broker}: {why}; it is tried again, at least every 5 minutes");
                if let Some(line) = service.journal.down(&line, world.at()) {
                    world.say(&line);
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
    /// The end of the certificate that was read, and when to have it read anew: credentials of systemd are copies.
    life: Option<(Time, Duration)>,
}

impl Service<'_> {
    fn is_over(&self, at: Duration) -> bool {
        self.life.is_some_and(|(_, over)| over <= at)
    }

    /// Half of what is left of a certificate, by a clock that can be believed.
    fn note_end(&mut self, end: Option<Time>, world: &impl World) {
        let now = world.now();
        if let Some(end) = end.filter(|end| now >= alm_state::BUILT && self.life.is_none_or(|(known, _)| known != *end))
        {
            let over = world.at() + Duration::from_secs(end.since(now) / 2);
            self.life = Some((end, over.max(LEAST_LIFE)));
        }
    }

    fn connection(&mut self, world: &mut impl World) -> Outcome {
        let lost = |why: String| Outcome::Lost { why, was_good: false };
        let opened = match world.open() {
            Ok(opened) => opened,
            Err(why) => return lost(why),
        };
        self.note_end(opened.end, world);
        let topics = Topics::new(&self.options.topic, &opened.device);
        // A run beside the service must not end the service's connection.
        let client = if self.options.once { format!("{}-once", opened.device) } else { opened.device.clone() };
        let login = opened.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        let will = (!self.options.once).then_some(topics.online.as_str());
        let hello = Hello { version: self.options.version, client: &client, login, will };
        let session = match Session::new(&hello, world.at()) {
            Ok(session) => session,
            Err(end) => return lost(self.explain(&end, false)),
        };
        let who = Who { device: opened.device, site: self.options.site.clone() };
        let mut talk = Talk {
            session,
            topics,
            who,
            planner: Planner::default(),
            said: String::new(),
            since: None,
            is_greeted: false,
            leaving: None,
        };
        loop {
            match self.turn(&mut talk, world) {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(why) => {
                    let was_good = talk.since.is_some_and(|since| world.at().saturating_sub(since) >= backoff::GOOD);
                    return Outcome::Lost { why, was_good };
                }
            }
        }
    }

    /// Sends what there is, hears what comes, and says what is due.
    fn turn(&mut self, talk: &mut Talk, world: &mut impl World) -> Result<Option<Outcome>, String> {
        let output = talk.session.output();
        if !output.is_empty() {
            world.send(&output)?;
        }
        let mut buffer = [0; 1024];
        let was_accepted = talk.session.is_accepted();
        let received = world.receive(&mut buffer)?;
        let at = world.at();
        let heard = match received {
            None => Err(End::Closed(0)),
            Some(count) => talk.session.receive(&buffer[..count], at).and_then(|()| talk.session.advance(at)),
        };
        heard.map_err(|end| self.explain(&end, was_accepted))?;
        if !talk.session.is_accepted() {
            return Ok(world.is_stopped().then_some(Outcome::Left));
        }
        talk.since.get_or_insert(at);
        if let Some(answer) = talk.session.answer() {
            let outcome = self.answered(talk, answer, world);
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        if talk.leaving.is_some() || world.is_stopped() || self.is_over(at) {
            return Ok(talk.take_leave(self.options.once, world));
        }
        talk.speak(self.options.once, world).map_err(|end| self.explain(&end, true))?;
        Ok(None)
    }

    fn answered(&mut self, talk: &mut Talk, answer: Answer, world: &mut impl World) -> Option<Outcome> {
        let topic = std::mem::take(&mut talk.said);
        let (Options { once, version, .. }, broker) = (self.options, self.broker);
        let line = match answer {
            Answer::Refused(reason) => {
                let (words, device) = (words(reason), &talk.who.device);
                let line = format!(
                    "{broker} refuses what this device says in {topic}: {words} ({reason}); it has to let {device} write there, see --topic and --device"
                );
                self.journal.wrong(&line, world.at())
            }
            Answer::Taken => {
                let Topics { online, state, .. } = &talk.topics;
                let line = format!("connected to {broker} by MQTT {version}, telling {state}");
                if topic == *online && talk.leaving.is_none() { self.journal.up(&line) } else { None }
            }
        };
        if let Some(line) = line {
            world.say(&line);
        }
        if !once {
            return None;
        }
        let at = world.at();
        let _ = talk.session.leave(at);
        let _ = world.send(&talk.session.output());
        Some(if answer == Answer::Taken { Outcome::Told } else { Outcome::Refused })
    }

    fn explain(&self, end: &End, was_accepted: bool) -> String {
        match end {
            End::Refused(reason) => format!("the broker refuses this device: {} ({reason})", words(*reason)),
            End::Closed(0) if !was_accepted => "the broker closed the connection without an answer".into(),
            End::Closed(0) => "the broker closed the connection".into(),
            End::Closed(reason) => format!("the broker ended the connection: {} ({reason})", words(*reason)),
            End::Silent(what) => format!("no answer to {what}"),
            End::Broken(how) if was_accepted => format!("the broker does not speak as agreed ({how})"),
            End::Broken(how) => {
                format!("it does not answer as a broker of MQTT {} ({how}); see --mqtt", self.options.version)
            }
        }
    }
}

/// A connection that was opened.
struct Talk {
    session: Session,
    topics: Topics,
    who: Who,
    planner: Planner,
    /// The topic of what waits for its answer.
    said: String,
    /// When the broker accepted it.
    since: Option<Duration>,
    /// Whether it was said that the device is there.
    is_greeted: bool,
    leaving: Option<Leaving>,
}

/// That the connection is being ended.
struct Leaving {
    /// When it is ended without a last word.
    due: Duration,
    is_said: bool,
}

impl Talk {
    fn say(&mut self, topic: String, payload: &[u8], at: Duration) -> Result<(), End> {
        self.session.publish(&topic, payload, at)?;
        self.said = topic;
        Ok(())
    }

    /// First that the device is there, then how it stands.
    fn speak(&mut self, once: bool, world: &mut impl World) -> Result<(), End> {
        let at = world.at();
        let may_state = !self.session.is_waiting();
        if !once && !self.is_greeted {
            self.is_greeted = true;
            return self.say(self.topics.online.clone(), payload::ONLINE.as_bytes(), at);
        }
        for say in self.planner.plan(&self.who, &world.view(), self.session.largest(), may_state, at) {
            match say {
                Say::State(payload) => self.say(self.topics.state.clone(), &payload, at)?,
                Say::Progress(payload) if !once => self.session.mention(&self.topics.progress, &payload, at)?,
                Say::Progress(_) => {}
            }
        }
        Ok(())
    }

    /// Says that the device is gone, and takes leave once that is heard. Where it is not, the connection is cut, and the
    /// broker says it.
    fn take_leave(&mut self, once: bool, world: &mut impl World) -> Option<Outcome> {
        let at = world.at();
        let leaving = self.leaving.get_or_insert(Leaving { due: at + FAREWELL, is_said: once });
        if leaving.due <= at {
            return Some(Outcome::Left);
        }
        if self.session.is_waiting() {
            return None;
        }
        if !leaving.is_said {
            leaving.is_said = true;
            let topic = self.topics.online.clone();
            return self.say(topic, payload::OFFLINE.as_bytes(), at).is_err().then_some(Outcome::Left);
        }
        let _ = self.session.leave(at);
        let _ = world.send(&self.session.output());
        Some(Outcome::Left)
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

    /// A network that is there in some seconds and not in others, and a broker that takes everything.
    struct Script {
        at: Cell<Duration>,
        /// Whether the network is there at a second.
        network: fn(u64) -> bool,
        /// What the clock of the device is ahead of the right one, at a second.
        ahead: fn(u64) -> i64,
        end: Duration,
        certificate_end: Option<Time>,
        is_open: bool,
        answers: Vec<u8>,
        journal: Vec<(u64, String)>,
        tries: Vec<u64>,
        /// When which packets were sent: their first bytes, and what is text of them.
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

        fn say(&mut self, line: &str) {
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

        fn open(&mut self) -> Result<Opened, String> {
            self.tries.push(self.second());
            self.pass(Duration::from_millis(100));
            if !self.is_network() {
                return Err("network is unreachable".into());
            }
            self.is_open = true;
            self.answers.clear();
            Ok(Opened { device: "pi-1".into(), login: None, end: self.certificate_end })
        }

        fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
            let second = self.second();
            self.sent.push((second, bytes[0], String::from_utf8_lossy(bytes).into_owned()));
            // A network that is gone takes what is sent, and nothing comes.
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
        // Seen by a ping that is not answered, and tried again less and less often.
        let gone: Vec<u64> = script.tries.iter().copied().filter(|second| (1_000..4_600).contains(second)).collect();
        assert!((10..60).contains(&gone.len()), "{gone:?}");
        assert!(gone[0] > 1_000 && gone[0] < 1_180, "{gone:?}");
        // Back within five minutes, and all is told again.
        let told = script.sent_of("app:1");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!((4_600..4_901).contains(&told[1]), "{told:?}");
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
        // Told to end, it says so.
        let last = &script.sent[script.sent.len() - 2..];
        assert!(last[0].2.ends_with("offline") && last[1].1 == 0xe0, "{last:?}");
    }

    #[test]
    fn a_network_that_swallows_what_is_said_is_noticed_while_pulling() {
        // Progress is sent each second, so no ping is due: it is the answer to a state that fails to come.
        let mut script = Script::new(200, |second| second < 100);
        script.is_pulling = true;
        run(&options(), &mut script);
        let (second, line) = &script.journal[1];
        assert!(*second < 150 && line.contains("no answer to a publish"), "{:?}", script.journal);
        assert!(script.sent_of("/progress").len() > 100);
    }

    #[test]
    fn a_broker_that_refuses_is_asked_seldom_and_told_of_once() {
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
            // Five days need no half seconds.
            script.tick = Duration::from_secs(20);
            assert_eq!(run(&options(), &mut script), 0);
            assert!(script.sent.iter().any(|sent| sent.2.ends_with("offline")));
            script.second()
        };
        assert_eq!(ends(10) / 86_400, 5);
        // Where it is about to end, or has ended, once an hour.
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
        let told = script.sent_of("app:1");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(script.sent_of(r#""clock":"wrong""#) == [told[0]] && told[1] < 110, "{told:?}");
        assert_eq!(script.second(), 30_000);
        assert_eq!(script.tries.len(), 1);
    }

    #[test]
    fn once_is_told_and_ended() {
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
