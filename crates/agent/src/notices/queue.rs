//! Decides which notice is sent when, and what follows from the answer. One attempt at a time, in a separate process.
//!
//! [`Queue::turn`] is called about once a second and never waits.
//!
//! **Invariant:** the notices of an event are written before the event is remembered as noticed, and a notice is removed only
//! after its receiver's answer.

use super::delivery::{Answer, End, LIMIT, Order};
use super::outbox::{Outbox, Waiting};
use super::receivers::{self, Receiver};
use super::rules::{self, Known, Notice};
use super::texts::{self, Text};
use crate::fleet::{Backoff, Journal};
use alm_state::{States, Time};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often the states are checked for news, and how long to wait after a failed write.
const EVERY: Duration = Duration::from_secs(5);
const AFTER_ERROR: Duration = Duration::from_mins(1);
/// Every notice waits a random time up to this, in seconds, so that a thousand devices do not send at the same moment.
const JITTER: u64 = 30;
/// The pause between two messages to the same receiver: Slack accepts one per second.
const GAP: Duration = Duration::from_secs(2);
/// If more notices than this are due, they are sent as one message.
const MAX_SINGLE: usize = 3;
/// The pause after a message that was not accepted; a random time that grows is added.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);
/// The pauses after attempts with an unclear result. After one more such attempt the notice is given up.
const UNCLEAR: [Duration; 2] = [Duration::from_mins(5), Duration::from_mins(30)];

pub(crate) struct Queue {
    sender: String,
    receivers: Vec<ReceiverQueue>,
    outbox: Outbox,
    known: Known,
    attempt: Option<Attempt>,
    /// When the states are to be checked for news; `None` before the first check.
    next_check: Option<Duration>,
    journal: Journal,
    /// Send without the random wait: this run ends as soon as everything is sent.
    without_jitter: bool,
    is_stopping: bool,
}

/// A receiver, and the notices that wait for it.
struct ReceiverQueue {
    receiver: Receiver,
    waiting: Vec<Entry>,
    /// Nothing is sent to it before this time.
    after: Duration,
    backoff: Backoff,
}

struct Entry {
    name: String,
    due: Duration,
}

struct Attempt {
    child: Child,
    /// The index of its receiver.
    receiver: usize,
    names: Vec<String>,
    title: String,
    due: Duration,
}

/// The order for the process that delivers.
pub(super) fn order(receiver: &Receiver, text: Text) -> Order {
    let Receiver { kind, url, authorization, .. } = receiver;
    Order { kind: *kind, url: url.clone(), authorization: authorization.clone(), text }
}

impl Queue {
    /// A queue for the receivers in `file`, with the outbox in `directory`.
    pub(crate) fn open(
        file: &Path,
        directory: &Path,
        device: &str,
        site: Option<&str>,
        without_jitter: bool,
    ) -> Result<Self, String> {
        let receivers = receivers::read(file)?;
        let outbox = Outbox::new(directory);
        let mut receivers: Vec<ReceiverQueue> = receivers
            .into_iter()
            .map(|receiver| ReceiverQueue {
                receiver,
                waiting: Vec::new(),
                after: Duration::ZERO,
                backoff: Backoff::default(),
            })
            .collect();
        for name in outbox.names() {
            match receivers.iter_mut().find(|queue| name.starts_with(&queue.receiver.id)) {
                Some(queue) => queue.waiting.push(Entry { name, due: Duration::ZERO }),
                // The receiver of this notice is no longer in the file.
                None => drop(outbox.remove(&[name])),
            }
        }
        let known = outbox.known();
        let sender = texts::sender(device, site);
        let journal = Journal::default();
        let mut queue = Self {
            sender,
            receivers,
            outbox,
            known,
            attempt: None,
            next_check: None,
            journal,
            without_jitter,
            is_stopping: false,
        };
        queue.resume(Time::now());
        Ok(queue)
    }

    /// Restores the pauses that receivers asked for: they hold across a restart, too.
    fn resume(&mut self, now: Time) {
        for queue in &mut self.receivers {
            let afters = queue.waiting.iter().filter_map(|entry| self.outbox.get(&entry.name)?.after);
            let wait = afters.max().map_or(0, |after| after.since(now)).min(24 * 3600);
            queue.after = Duration::from_secs(wait);
        }
    }

    /// From now on no attempt is started.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Whether a turn at `at` will check the states for news.
    pub(crate) fn wants_states(&self, at: Duration) -> bool {
        !self.is_stopping && self.next_check.is_none_or(|next_check| next_check <= at)
    }

    /// Whether a process that delivers a message is running.
    pub(crate) fn is_sending(&self) -> bool {
        self.attempt.is_some()
    }

    /// Whether no notice is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.receivers.iter().all(|queue| queue.waiting.is_empty())
    }

    /// Whether at the time `at` there is nothing left to do.
    pub(crate) fn is_done(&self, at: Duration) -> bool {
        self.next_check.is_some() && !self.is_sending() && self.next(at + GAP).is_none()
    }

    /// Ends a finished attempt, adds notices for what is new in `states`, and starts an attempt. Returns the lines for the
    /// journal.
    pub(crate) fn turn(
        &mut self,
        states: Option<&States>,
        at: Duration,
        now: Time,
        mut random: impl FnMut() -> u64,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        if self.attempt.is_some() {
            lines.extend(self.finish_attempt(at, now, &mut random));
        }
        if self.attempt.is_none() && !self.is_stopping {
            if let Some(states) = states {
                self.next_check = Some(at + EVERY);
                if let Err(error) = self.add_new(states, at, now, random()) {
                    self.next_check = Some(at + AFTER_ERROR);
                    let line = format!(
                        "notices cannot be kept in {}: {error}; see StateDirectory in alm-agent(1)",
                        self.outbox.shown()
                    );
                    lines.extend(self.journal.failure(&line, at));
                }
            }
            if let Some(line) = self.next(at) {
                lines.extend(self.begin(line, at));
            }
        }
        lines
    }

    /// Adds the notices that are due because of `states`, and remembers them as noticed.
    fn add_new(&mut self, states: &States, at: Duration, now: Time, random: u64) -> std::io::Result<()> {
        let mut known = self.known.clone();
        let images = states.images.iter().map(|found| (&found.image, found.image.is_lost()));
        let notices = rules::due(images, &states.containers, now, &mut known);
        if known == self.known {
            return Ok(());
        }
        let jitter = if self.without_jitter { 0 } else { random % (JITTER * 1000 + 1) };
        let due = at + Duration::from_millis(jitter);
        for notice in notices {
            for queue in &mut self.receivers {
                let name = format!("{}-{}.json", queue.receiver.id, alm_state::file_name(&notice.key()));
                self.outbox.put(&name, &Waiting { notice: notice.clone(), unclear: 0, after: None })?;
                queue.waiting.retain(|entry| entry.name != name);
                queue.waiting.push(Entry { name, due });
            }
        }
        self.outbox.set_known(&known)?;
        self.known = known;
        self.outbox.reserve();
        Ok(())
    }

    /// The index of a receiver to which something is to be sent now.
    fn next(&self, at: Duration) -> Option<usize> {
        let is_due = |queue: &ReceiverQueue| queue.after <= at && queue.waiting.iter().any(|entry| entry.due <= at);
        self.receivers.iter().position(is_due)
    }

    /// Starts an attempt. Returns a line for the journal if that fails.
    fn begin(&mut self, number: usize, at: Duration) -> Option<String> {
        let queue = &mut self.receivers[number];
        let due: Vec<String> =
            queue.waiting.iter().filter(|entry| entry.due <= at).map(|entry| entry.name.clone()).collect();
        let count = if due.len() > MAX_SINGLE { due.len() } else { 1 };
        let mut names = Vec::new();
        let mut notices: Vec<Notice> = Vec::new();
        for name in due.into_iter().take(count) {
            if let Some(waiting) = self.outbox.get(&name) {
                names.push(name);
                notices.push(waiting.notice);
            } else {
                // The file was removed or damaged by someone else.
                queue.waiting.retain(|entry| entry.name != name);
                let _ = self.outbox.remove(&[name]);
            }
        }
        let text = match &notices[..] {
            [] => return None,
            [one] => texts::single(&self.sender, one),
            many => texts::digest(&self.sender, many),
        };
        let title = text.title.clone();
        match start(&order(&queue.receiver, text)) {
            Ok(child) => {
                self.attempt = Some(Attempt { child, receiver: number, names, title, due: at + LIMIT });
                None
            }
            Err(error) => {
                queue.after = at + AFTER_ERROR;
                self.journal.failure(&format!("notices cannot be sent: {error}"), at)
            }
        }
    }

    /// If the attempt has ended, handles its result. Returns a line for the journal.
    fn finish_attempt(&mut self, at: Duration, now: Time, random: &mut impl FnMut() -> u64) -> Option<String> {
        let mut attempt = self.attempt.take()?;
        let is_over = match attempt.child.try_wait() {
            Ok(None) if at < attempt.due => {
                self.attempt = Some(attempt);
                return None;
            }
            Ok(None) | Err(_) => {
                let _ = attempt.child.kill();
                let _ = attempt.child.wait();
                false
            }
            Ok(Some(_)) => true,
        };
        let mut bytes = Vec::new();
        let _ =
            attempt.child.stdout.take().filter(|_| is_over).map(|stdout| stdout.take(4_096).read_to_end(&mut bytes));
        let answer = Answer::from_bytes(&bytes).unwrap_or_else(|| Answer::new(End::Unclear, "no answer in time"));
        self.settle(&attempt, &answer, at, now, random())
    }

    fn settle(&mut self, attempt: &Attempt, answer: &Answer, at: Duration, now: Time, random: u64) -> Option<String> {
        let Attempt { receiver: number, names, title, .. } = attempt;
        let queue = &mut self.receivers[*number];
        let shown = format!("the notice «{title}» ({})", queue.receiver.shown);
        let details = &answer.details;
        let retry = Duration::from_secs(answer.retry.unwrap_or(0));
        let wait = |wait: Duration| at + wait.max(retry).max(GAP);
        match answer.end {
            End::Delivered | End::Refused => {
                queue.waiting.retain(|entry| !names.contains(&entry.name));
                queue.backoff.reset();
                queue.after = wait(GAP);
                if let Err(error) = self.outbox.remove(names) {
                    let line =
                        format!("{}: {error}; what is left there is sent again after a restart", self.outbox.shown());
                    return self.journal.failure(&line, at);
                }
                Some(match answer.end {
                    End::Delivered => format!("{shown} was delivered: {details}"),
                    _ => format!("{shown} was refused and is given up: {details}"),
                })
            }
            End::Later => {
                queue.after = wait(AFTER_REFUSAL + queue.backoff.next(random));
                if retry > Duration::ZERO {
                    self.note(names, 0, now, retry);
                }
                self.waits(*number, details, at)
            }
            End::Unclear => {
                let tried = names.iter().filter_map(|name| Some(self.outbox.get(name)?.unclear)).max().unwrap_or(0);
                let base = UNCLEAR.get(tried as usize).copied().unwrap_or(GAP);
                let pause = retry.max(base + Duration::from_millis(random % (base.as_millis() as u64 + 1)));
                self.receivers[*number].after = at + pause;
                let lost = self.note(names, 1, now, pause);
                if lost.is_empty() {
                    return self.waits(*number, details, at);
                }
                self.receivers[*number].waiting.retain(|entry| !lost.contains(&entry.name));
                Some(format!("{shown} is given up after {} attempts: {details}", UNCLEAR.len() + 1))
            }
        }
    }

    fn waits(&mut self, number: usize, details: &str, at: Duration) -> Option<String> {
        let shown = &self.receivers[number].receiver.shown;
        // Only the beginning of the reason is compared: mailers put numbers into it that differ each time.
        let reason: String = details.chars().take(36).collect();
        let is_new = self.journal.failure(&format!("{shown}: {reason}"), at).is_some();
        is_new.then(|| format!("notices wait for {shown}: {details}; they are tried again"))
    }

    /// Writes to the files how many attempts were `unclear`, and the pause until the next one. Returns the names of the notices
    /// that are given up.
    fn note(&self, names: &[String], unclear: u32, now: Time, pause: Duration) -> Vec<String> {
        let after = Some(Time(now.0.saturating_add(i64::try_from(pause.as_secs()).unwrap_or(0))));
        let mut lost = Vec::new();
        for name in names {
            let Some(waiting) = self.outbox.get(name) else { continue };
            let waiting = Waiting { unclear: waiting.unclear + unclear, after, ..waiting };
            if waiting.unclear as usize > UNCLEAR.len() {
                lost.push(name.clone());
            } else {
                // If this cannot be written, the notice gets one attempt more than it should.
                let _ = self.outbox.put(name, &waiting);
            }
        }
        let _ = self.outbox.remove(&lost);
        lost
    }
}

/// Starts the process that delivers. It inherits the environment: TLS, proxies and sendmail are configured there.
fn start(order: &Order) -> std::io::Result<Child> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("alm-agent")
        .arg("notice")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let bytes = order.to_bytes();
    // Does not block: an order is smaller than the buffer of a pipe. If the process has ended already, its answer is missing,
    // which is handled later.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(bytes.as_bytes()));
    Ok(child)
}
