//! The MQTT protocol of one connection: bytes in, bytes out; no socket and no clock.
//!
//! The crate mqtt-protocol-core implements the protocol. This module drives its timers and events, and hides the difference
//! between MQTT 5 and 3.1.1. Only one publish at a time waits for its answer, so that no broker's limit on unconfirmed
//! messages is ever reached.
//!
//! **Invariant:** a broker that sends something unexpected, or nothing, ends the session. A packet of it takes at most
//! [`MAX_RECEIVED`] bytes of memory, and no answer is awaited longer than the limits here.

use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::Version as Protocol;
use mqtt_protocol_core::mqtt::connection::event::TimerKind;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{Packet, Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::MqttError;
use std::time::Duration;

/// The longest that an answer to CONNECT, a publish or a ping may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Seconds. MQTT lets the broker declare a device lost after one and a half times this.
const KEEP_ALIVE: u16 = 120;
/// Reasons of MQTT 5 that this side finds, too.
const TOO_LARGE: u8 = 149;
const NO_RETAIN: u8 = 154;
const NO_QOS: u8 = 155;
/// Bytes. Nothing is subscribed to, so a broker sends only answers, of a few bytes each.
const MAX_RECEIVED: u32 = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Five,
    ThreeOneOne,
}

impl Version {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "5" | "5.0" => Ok(Self::Five),
            "3.1.1" => Ok(Self::ThreeOneOne),
            _ => Err("the version of MQTT is 5 or 3.1.1".into()),
        }
    }
}

/// `5`, `3.1.1`
impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Five { "5" } else { "3.1.1" })
    }
}

/// What CONNECT contains.
pub(super) struct ConnectOptions<'a> {
    pub(super) version: Version,
    /// The client identifier; a broker ends the older of two connections with the same one.
    pub(super) client: &'a str,
    /// User name and password.
    pub(super) login: Option<(&'a str, &'a str)>,
    /// The topic of the will: the broker publishes `offline` on it when this connection breaks.
    pub(super) will: Option<&'a str>,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// The broker's reason for not accepting the connection, as MQTT 5 numbers it.
    Refused(u8),
    /// The broker's reason for ending the connection; 0 if there was none.
    Closed(u8),
    /// The broker did not answer this packet in time.
    Silent(&'static str),
    /// The broker violated the protocol.
    Broken(String),
}

/// The broker's answer to a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    /// The broker's reason, as MQTT 5 numbers it; 3.1.1 has no such answer.
    Refused(u8),
}

pub(super) struct Session {
    mqtt: mqtt::Connection<mqtt::role::Client>,
    version: Version,
    is_accepted: bool,
    /// The identifier of the publish that is not confirmed yet.
    waiting: Option<u16>,
    answer: Option<Answer>,
    /// When CONNECT or the publish has to be answered at the latest.
    due: Option<Duration>,
    ping: Option<Duration>,
    pong: Option<Duration>,
    /// Whether a ping was not answered before the packet that is being handled.
    is_ping_open: bool,
    /// The largest packet that the broker accepts, in bytes.
    max_packet: usize,
    /// The bytes that are to be sent.
    out: Vec<u8>,
}

impl Session {
    /// Starts a session: [`Session::output`] then returns CONNECT.
    pub(super) fn new(options: &ConnectOptions, at: Duration) -> Result<Self, End> {
        let limits = ConnectionOptions::new().maximum_packet_size_recv(MAX_RECEIVED);
        let protocol = if options.version == Version::Five { Protocol::V5_0 } else { Protocol::V3_1_1 };
        let mut mqtt = mqtt::Connection::with_options(protocol, limits);
        mqtt.set_pingresp_recv_timeout(ANSWER_LIMIT.as_millis() as u64);
        let events = match options.version {
            Version::Five => mqtt.checked_send(connect_5(options).map_err(broken)?),
            Version::ThreeOneOne => mqtt.checked_send(connect_3(options).map_err(broken)?),
        };
        let mut session = Self {
            mqtt,
            version: options.version,
            is_accepted: false,
            waiting: None,
            answer: None,
            due: Some(at + ANSWER_LIMIT),
            ping: None,
            pong: None,
            is_ping_open: false,
            max_packet: usize::MAX,
            out: Vec::new(),
        };
        session.apply(events, at)?;
        Ok(session)
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    /// Whether a publish waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The answer to the last publish; each answer is returned once.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// The largest payload that the broker accepts on `topic`, in bytes.
    pub(super) fn max_payload(&self, topic: &str) -> usize {
        // The packet's type and length, the topic with its length, the packet's identifier, no properties.
        self.max_packet.saturating_sub(1 + 4 + 2 + topic.len() + 2 + 1)
    }

    /// The bytes that are to be sent now; each is returned once.
    pub(super) fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Handles bytes from the broker.
    pub(super) fn receive(&mut self, bytes: &[u8], at: Duration) -> Result<(), End> {
        let mut cursor = mqtt::common::Cursor::new(bytes);
        while cursor.position() < bytes.len() as u64 {
            self.is_ping_open = self.pong.is_some();
            let events = self.mqtt.recv(&mut cursor);
            self.apply(events, at)?;
        }
        Ok(())
    }

    /// Handles that it is now `at`: sends a ping if it is due, and ends the session if an answer is overdue.
    pub(super) fn advance(&mut self, at: Duration) -> Result<(), End> {
        if self.due.is_some_and(|due| due <= at) {
            return Err(End::Silent(if self.is_accepted { "a publish" } else { "CONNECT" }));
        }
        if self.pong.is_some_and(|pong| pong <= at) {
            return Err(End::Silent("a ping"));
        }
        if self.ping.take_if(|ping| *ping <= at).is_some() {
            let events = self.mqtt.notify_timer_fired(TimerKind::PingreqSend);
            self.apply(events, at)?;
        }
        Ok(())
    }

    /// Publishes a retained message with `QoS` 1. Its [`Session::answer`] has to arrive before the next is published.
    pub(super) fn publish(&mut self, topic: &str, payload: &[u8], at: Duration) -> Result<(), End> {
        let id = self.mqtt.acquire_packet_id().map_err(broken)?;
        (self.waiting, self.due) = (Some(id), Some(at + ANSWER_LIMIT));
        self.send(topic, payload, Some(id), at)
    }

    /// Publishes a message with `QoS` 0, not retained: for those who are subscribed now, and it may be lost.
    pub(super) fn publish_qos0(&mut self, topic: &str, payload: &[u8], at: Duration) -> Result<(), End> {
        self.send(topic, payload, None, at)
    }

    fn send(&mut self, topic: &str, payload: &[u8], id: Option<u16>, at: Duration) -> Result<(), End> {
        let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let events = match self.version {
            Version::Five => {
                let packet = v5_0::Publish::builder().topic_name(topic).map_err(broken)?.qos(qos).retain(id.is_some());
                let packet = if let Some(id) = id { packet.packet_id(id) } else { packet };
                self.mqtt.checked_send(packet.payload(payload).build().map_err(broken)?)
            }
            Version::ThreeOneOne => {
                let packet =
                    v3_1_1::Publish::builder().topic_name(topic).map_err(broken)?.qos(qos).retain(id.is_some());
                let packet = if let Some(id) = id { packet.packet_id(id) } else { packet };
                self.mqtt.checked_send(packet.payload(payload).build().map_err(broken)?)
            }
        };
        // The library sends nothing that is larger than the broker has said it accepts.
        if events.iter().any(|event| matches!(event, Event::NotifyError(MqttError::PacketTooLarge))) {
            return Err(End::Refused(TOO_LARGE));
        }
        self.apply(events, at)
    }

    /// Sends DISCONNECT, after which the broker does not publish the will.
    pub(super) fn disconnect(&mut self, at: Duration) -> Result<(), End> {
        let events = match self.version {
            Version::Five => self.mqtt.checked_send(v5_0::Disconnect::builder().build().map_err(broken)?),
            Version::ThreeOneOne => self.mqtt.checked_send(v3_1_1::Disconnect::builder().build().map_err(broken)?),
        };
        // The library's events include "close the connection", which `apply` reports as an error.
        let _ = self.apply(events, at);
        Ok(())
    }

    fn apply(&mut self, events: Vec<Event>, at: Duration) -> Result<(), End> {
        let mut end = None;
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => self.out.extend(packet.to_continuous_buffer()),
                Event::RequestTimerReset { kind, duration_ms } => {
                    *self.timer(kind) = Some(at + Duration::from_millis(duration_ms));
                }
                Event::RequestTimerCancel(kind) => *self.timer(kind) = None,
                Event::NotifyPacketReceived(packet) => self.handle(&packet, at)?,
                Event::NotifyError(error) => return Err(broken(error)),
                // A more exact error may follow among the events.
                Event::RequestClose => end = Some(End::Closed(0)),
                Event::NotifyPacketIdReleased(_) => {}
            }
        }
        end.map_or(Ok(()), Err)
    }

    fn timer(&mut self, kind: TimerKind) -> &mut Option<Duration> {
        if kind == TimerKind::PingreqSend { &mut self.ping } else { &mut self.pong }
    }

    fn handle(&mut self, packet: &Packet, at: Duration) -> Result<(), End> {
        match packet {
            Packet::V5_0Connack(packet) => {
                for property in packet.props() {
                    match property {
                        Property::MaximumPacketSize(size) => self.max_packet = size.val() as usize,
                        // In the words of a broker that says the same only after a publish.
                        Property::MaximumQos(qos) if qos.val() == 0 => return Err(End::Refused(NO_QOS)),
                        Property::RetainAvailable(is_available) if is_available.val() == 0 => {
                            return Err(End::Refused(NO_RETAIN));
                        }
                        // With none, or a long one, a connection that broke without a word would go unnoticed.
                        Property::ServerKeepAlive(time) if !(1..=KEEP_ALIVE).contains(&time.val()) => {
                            let interval = Duration::from_secs(KEEP_ALIVE.into());
                            self.ping = Some(at + interval);
                            self.mqtt.set_pingreq_send_interval(Some(interval.as_millis() as u64));
                        }
                        _ => {}
                    }
                }
                self.connected(packet.reason_code() as u8)
            }
            Packet::V3_1_1Connack(packet) => self.connected(match packet.return_code() as u8 {
                0 => 0,
                // Translated to the reason codes of MQTT 5: version, identifier, unavailable, login, not authorized.
                1 => 132,
                2 => 133,
                3 => 136,
                4 => 134,
                _ => 135,
            }),
            Packet::V5_0Puback(packet) => {
                // 16 is "no matching subscribers", which is no error.
                let reason = packet.reason_code().map_or(0, |reason| reason as u8);
                self.acknowledged(packet.packet_id(), reason);
                Ok(())
            }
            Packet::V3_1_1Puback(packet) => {
                self.acknowledged(packet.packet_id(), 0);
                Ok(())
            }
            Packet::V5_0Pingresp(_) | Packet::V3_1_1Pingresp(_) if self.is_ping_open => Ok(()),
            Packet::V5_0Disconnect(packet) => Err(End::Closed(packet.reason_code().map_or(0, |reason| reason as u8))),
            _ => Err(End::Broken("it sent what was not asked for".into())),
        }
    }

    fn connected(&mut self, reason: u8) -> Result<(), End> {
        if self.is_accepted {
            return Err(End::Broken("it accepted twice".into()));
        }
        if reason != 0 {
            return Err(End::Refused(reason));
        }
        (self.is_accepted, self.due) = (true, None);
        Ok(())
    }

    fn acknowledged(&mut self, id: u16, reason: u8) {
        if self.waiting.take_if(|waiting| *waiting == id).is_some() {
            self.due = None;
            self.answer = Some(if reason < 128 { Answer::Accepted } else { Answer::Refused(reason) });
        }
    }
}

fn connect_5(options: &ConnectOptions) -> Result<v5_0::Connect, MqttError> {
    let mut connect = v5_0::Connect::builder().client_id(options.client)?.clean_start(true).keep_alive(KEEP_ALIVE);
    if let Some(topic) = options.will {
        connect = connect.will_message(topic, super::payload::OFFLINE, Qos::AtLeastOnce, true)?;
    }
    if let Some((user, password)) = options.login {
        connect = connect.user_name(user)?.password(password)?;
    }
    connect.build()
}

fn connect_3(options: &ConnectOptions) -> Result<v3_1_1::Connect, MqttError> {
    let mut connect = v3_1_1::Connect::builder().client_id(options.client)?.clean_session(true).keep_alive(KEEP_ALIVE);
    if let Some(topic) = options.will {
        connect = connect.will_message(topic, super::payload::OFFLINE, Qos::AtLeastOnce, true)?;
    }
    if let Some((user, password)) = options.login {
        connect = connect.user_name(user)?.password(password)?;
    }
    connect.build()
}

fn broken(error: MqttError) -> End {
    End::Broken(format!("MQTT: {error:?}"))
}

/// A reason code of MQTT 5 in words; those of 3.1.1 were translated to it.
pub(super) fn reason_text(reason: u8) -> &'static str {
    match reason {
        129 | 130 => "it could not read what was sent",
        132 => "it does not speak this version of MQTT; see --mqtt",
        133 => "it does not take this client identifier",
        134 => "user name or password are wrong",
        135 => "not authorized",
        136 | 137 => "it is not able to serve now",
        138 => "this device is banned",
        139 => "it is shutting down",
        141 => "it has heard nothing for too long",
        142 => "another connection came under the same name: are there two devices with one certificate?",
        144 => "it does not take this topic",
        TOO_LARGE => "it takes no messages of this size",
        150 | 151 | 159 => "too much at once",
        152 => "an administrator ended it",
        NO_RETAIN => "it keeps no messages for later (retain), without which there is no fleet to be seen",
        NO_QOS => "it confirms no messages (QoS 1)",
        156 | 157 => "this device has to use another broker",
        _ => "it gave no reason; see the broker's own log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn session(version: Version) -> Session {
        let options = ConnectOptions {
            version,
            client: "pi-1",
            login: Some(("pi-1", "secret")),
            will: Some("fleet/pi-1/online"),
        };
        Session::new(&options, Duration::ZERO).expect("a session")
    }

    fn accepted(version: Version) -> Session {
        let mut session = session(version);
        assert_eq!(session.output()[0], 0x10, "CONNECT");
        let connack: &[u8] = if version == Version::Five { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        session.receive(connack, S).expect("accepted");
        assert!(session.is_accepted());
        session
    }

    #[test]
    fn connect_has_will_login_and_keep_alive() {
        for version in [Version::Five, Version::ThreeOneOne] {
            let sent = session(version).output();
            let text = String::from_utf8_lossy(&sent);
            for part in ["MQTT", "pi-1", "secret", "fleet/pi-1/online", "offline"] {
                assert!(text.contains(part), "{part}");
            }
            // Flags: user, password, will retained, QoS 1, will, clean.
            assert_eq!(sent[9], 0b1110_1110);
            assert_eq!(u16::from_be_bytes([sent[10], sent[11]]), KEEP_ALIVE);
        }
    }

    #[test]
    fn a_refusal_has_its_reason_in_both_versions() {
        assert_eq!(session(Version::Five).receive(&[0x20, 3, 0, 135, 0], S), Err(End::Refused(135)));
        assert_eq!(session(Version::ThreeOneOne).receive(&[0x20, 2, 0, 5], S), Err(End::Refused(135)));
        assert_eq!(session(Version::ThreeOneOne).receive(&[0x20, 2, 0, 4], S), Err(End::Refused(134)));
    }

    #[test]
    fn a_publish_is_answered_refused_or_overdue() {
        for version in [Version::Five, Version::ThreeOneOne] {
            let mut session = accepted(version);
            session.publish("fleet/pi-1/state", b"{}", S).expect("a publish");
            // PUBLISH, QoS 1, retained.
            assert_eq!(session.output()[0], 0x33);
            assert!(session.is_waiting());
            session.receive(&[0x40, 2, 0, 9], S).unwrap_or_default();
            assert!(session.is_waiting(), "another's answer");
        }
        let mut session = accepted(Version::Five);
        session.publish("fleet/pi-1/state", b"{}", S).expect("a publish");
        session.receive(&[0x40, 3, 0, 1, 135], S).expect("an answer");
        assert_eq!(
            (session.answer(), session.answer(), session.is_waiting()),
            (Some(Answer::Refused(135)), None, false)
        );
        session.publish("fleet/pi-1/state", b"{}", S).expect("a publish");
        session.advance(30 * S).expect("still time");
        assert_eq!(session.advance(31 * S), Err(End::Silent("a publish")));
    }

    #[test]
    fn progress_is_sent_without_waiting() {
        let mut session = accepted(Version::Five);
        session.publish_qos0("fleet/pi-1/progress", b"{}", S).expect("sent");
        assert_eq!((session.output()[0], session.is_waiting()), (0x30, false));
    }

    #[test]
    fn silence_is_pinged_and_then_ended() {
        for version in [Version::Five, Version::ThreeOneOne] {
            let mut session = accepted(version);
            session.advance(119 * S).expect("quiet");
            assert_eq!(session.output(), b"");
            session.advance(121 * S).expect("a ping");
            assert_eq!(session.output(), [0xc0, 0]);
            session.receive(&[0xd0, 0], 122 * S).expect("an answer");
            session.advance(241 * S).expect("the next ping");
            assert_eq!(session.output(), [0xc0, 0]);
            assert_eq!(session.advance(272 * S), Err(End::Silent("a ping")));
        }
        assert_eq!(session(Version::Five).advance(30 * S), Err(End::Silent("CONNECT")));
    }

    #[test]
    fn what_the_broker_may_not_send_ends_the_session() {
        let publish: &[u8] = &[0x30, 5, 0, 1, b'a', 0, b'x'];
        let huge: &[u8] = &[0x30, 0xff, 0xff, 0xff, 0x7f];
        let endless: &[u8] = &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff];
        let twice: &[u8] = &[0x20, 3, 0, 0, 0];
        let page = "HTTP/1.1 400 Bad Request\r\n\r\n".repeat(4);
        for bytes in [publish, huge, endless, twice, page.as_bytes(), &[0; 64]] {
            for version in [Version::Five, Version::ThreeOneOne] {
                let mut session = accepted(version);
                assert!(session.receive(bytes, S).is_err(), "{bytes:?}");
            }
        }
        let mut session = accepted(Version::Five);
        assert_eq!(session.receive(&[0xe0, 1, 142], S), Err(End::Closed(142)));
    }

    #[test]
    fn disconnect_is_sent() {
        for version in [Version::Five, Version::ThreeOneOne] {
            let mut session = accepted(version);
            session.disconnect(S).expect("left");
            assert_eq!(session.output()[0], 0xe0);
        }
    }

    #[test]
    fn a_payload_of_the_largest_size_is_accepted_and_a_larger_one_never_sent() {
        for topic in ["fleet/pi-1/state", &"x".repeat(300)] {
            let mut session = session(Version::Five);
            session.output();
            session.receive(&[0x20, 8, 0, 0, 5, 39, 0, 0, 16, 0], S).expect("accepted");
            let max = session.max_payload(topic);
            session.publish(topic, &vec![b' '; max], S).expect("it fits");
            let sent = session.output().len();
            assert!((4_090..=4_096).contains(&sent), "{sent}");
            session.receive(&[0x40, 2, 0, 1], S).expect("an answer");
            let larger = session.publish(topic, &vec![b' '; max + 10], S);
            assert_eq!((larger, session.output().len()), (Err(End::Refused(TOO_LARGE)), 0));
        }
    }

    /// Accepted by a broker of MQTT 5, with these properties.
    fn accepted_with(properties: &[u8]) -> Result<Session, End> {
        let mut session = session(Version::Five);
        session.output();
        let length = u8::try_from(properties.len()).expect("short");
        session.receive(&[&[0x20, length + 3, 0, 0, length], properties].concat(), S).map(|()| session)
    }

    #[test]
    fn a_broker_that_cannot_do_what_is_needed_is_refused_before_anything_is_published() {
        assert_eq!(accepted_with(&[36, 0]).err(), Some(End::Refused(NO_QOS)));
        assert_eq!(accepted_with(&[37, 0]).err(), Some(End::Refused(NO_RETAIN)));
        // No message may be sent, or none of any size: not to be said by a broker.
        for zero in [&[33, 0, 0][..], &[39, 0, 0, 0, 0]] {
            assert!(matches!(accepted_with(zero), Err(End::Broken(_))), "{zero:?}");
        }
        // A receive maximum of 1, another client identifier, an alias, an expiry, a text for people.
        for fine in
            [&[33, 0, 1][..], &[18, 0, 1, b'x'], &[34, 0, 9], &[17, 0, 0, 0, 9], &[31, 0, 1, b'x'], &[36, 1, 37, 1]]
        {
            let mut session = accepted_with(fine).expect("accepted");
            for _ in 0..3 {
                session.publish("fleet/pi-1/state", b"{}", S).expect("a publish");
                let [high, low] = session.waiting.expect("its identifier").to_be_bytes();
                session.receive(&[0x40, 2, high, low], S).expect("an answer");
                assert_eq!(session.answer(), Some(Answer::Accepted));
            }
        }
    }

    #[test]
    fn the_brokers_keep_alive_holds_and_none_does_not_stop_the_pings() {
        for (keep_alive, expected) in [(&[0, 30][..], 30), (&[0, 0], 120), (&[255, 255], 120)] {
            let mut session = accepted_with(&[&[19][..], keep_alive].concat()).expect("accepted");
            for ping in 1..=3 {
                session.advance(S + (expected * ping - 1) * S).expect("quiet");
                assert_eq!(session.output(), b"", "{keep_alive:?}");
                session.advance(S + expected * ping * S).expect("a ping");
                assert_eq!(session.output(), [0xc0, 0], "{keep_alive:?}");
                session.receive(&[0xd0, 0], S + expected * ping * S).expect("an answer");
            }
        }
    }

    #[test]
    fn an_answer_to_a_ping_that_was_not_sent_ends_the_session() {
        for version in [Version::Five, Version::ThreeOneOne] {
            assert!(matches!(accepted(version).receive(&[0xd0, 0], S), Err(End::Broken(_))));
            let mut session = accepted(version);
            session.advance(121 * S).expect("a ping");
            assert!(session.receive(&[0xd0, 0, 0xd0, 0], 122 * S).is_err(), "two for one");
        }
    }
}
