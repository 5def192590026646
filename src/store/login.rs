//! One address of one host to a connection that is logged in: the socket, TLS, SCRAM-SHA-256. Where
//! a password is known the server must prove that it knows it too.

use std::os::fd::AsRawFd;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message, ParameterStatusBody};
use postgres_protocol::message::frontend;
use socket2::SockAddr;

use super::messages::told;
use super::place::StorePlace;
use super::talk::{OUT_OF_TURN, Talk, UNREADABLE, within};
use crate::clock::Mono;
use crate::config::{Secret, StoreHost, StoreUrl};
use crate::limits;
use crate::sockets::{Channel, Connecting, reach_one, set_user_timeout, shut_down};
use crate::store::STORE_HOST_TIMEOUT;
use crate::tls::Client;

/// Unacknowledged bytes are given up by the kernel after this (TCP_USER_TIMEOUT).
const STORE_TCP_USER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a server says of itself when p99 logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as it says it.
    pub version: String,
    /// Whether it only follows another one.
    pub is_standby: bool,
    /// Whether transactions may not write by default.
    pub is_read_only: bool,
    /// Its process that serves the connection; 0 where it does not say.
    pub process: i32,
}

/// Connects to `address` of `host`, and logs in.
///
/// # Errors
/// Why not, in words for the operator.
pub(super) async fn reach(
    place: &StorePlace,
    host: &StoreHost,
    address: &SockAddr,
) -> Result<(Talk, ServerFacts), String> {
    let connecting = Connecting::until(Mono::default(), Duration::ZERO);
    let reached = reach_one(address, &connecting);
    let stop = || connecting.give_up();
    let (reached, _) = within(STORE_HOST_TIMEOUT, stop, reached).await;
    let stream = reached.map_err(|fault| fault.to_string())?;
    let descriptor = stream.as_raw_fd();
    let begun = begin(place, host, stream);
    let stop = || shut_down(descriptor);
    let (begun, is_late) = within(limits::STORE_LOGIN_TIMEOUT, stop, begun).await;
    if is_late {
        return Err("its login took too long".to_owned());
    }
    begun
}

async fn begin(
    place: &StorePlace,
    host: &StoreHost,
    stream: TcpStream,
) -> Result<(Talk, ServerFacts), String> {
    let mut channel = Channel {
        stream,
        session: None,
    };
    if let StoreHost::Tcp(name, _) = host {
        let timeout = set_user_timeout(&channel.stream, STORE_TCP_USER_TIMEOUT);
        timeout.map_err(|fault| fault.to_string())?;
        if let Some(client) = place.client(name)? {
            seal(&mut channel, &client).await?;
        }
    }
    let mut talk = Talk::on(channel);
    let password = place.url.password(host).map(Secret::reveal);
    let facts = log_in(&mut talk, &place.url, password).await?;
    Ok((talk, facts))
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is about the password is all the rest"
)]
async fn log_in(
    talk: &mut Talk,
    url: &StoreUrl,
    password: Option<&str>,
) -> Result<ServerFacts, String> {
    let mut out = BytesMut::new();
    let wanted = [
        ("user", &*url.user),
        ("database", &*url.database),
        ("application_name", "p99"),
        ("client_encoding", "UTF8"),
    ];
    frontend::startup_message(wanted, &mut out).map_err(|fault| fault.to_string())?;
    talk.write(out).await?;
    let mut facts = ServerFacts::default();
    let mut scram = Scram {
        password,
        begun: None,
        is_proven: false,
    };
    loop {
        match talk.next().await? {
            Message::ParameterStatus(body) => facts.note(&body),
            Message::ErrorResponse(body) => {
                let (told, _) = told(body.fields()).map_err(|_| UNREADABLE)?;
                return Err(told.to_string());
            }
            Message::ReadyForQuery(_) => return Ok(facts),
            Message::BackendKeyData(body) => facts.process = body.process_id(),
            Message::NoticeResponse(_) => {}
            other => {
                let out = scram.answer(other)?;
                if !out.is_empty() {
                    talk.write(out).await?;
                }
            }
        }
    }
}

impl ServerFacts {
    fn note(&mut self, body: &ParameterStatusBody) {
        let value = body.value().unwrap_or_default();
        match body.name().unwrap_or_default() {
            "server_version" => value.clone_into(&mut self.version),
            "in_hot_standby" => self.is_standby = value == "on",
            "default_transaction_read_only" => self.is_read_only = value == "on",
            _ => {}
        }
    }
}

/// The login's exchange about the password. Pure.
struct Scram<'a> {
    password: Option<&'a str>,
    begun: Option<ScramSha256>,
    is_proven: bool,
}

impl Scram<'_> {
    /// What to write; nothing when it is over.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the library may know more messages than any server sends here"
    )]
    fn answer(&mut self, message: Message) -> Result<BytesMut, String> {
        let mut out = BytesMut::new();
        match message {
            Message::AuthenticationOk if self.password.is_some() && !self.is_proven => {
                return Err(
                    "it lets p99 in without proving that it knows the password: only \
                            scram-sha-256 is trusted where one is set"
                        .to_owned(),
                );
            }
            Message::AuthenticationOk => {}
            Message::AuthenticationSasl(body) => self.begin(&body, &mut out)?,
            Message::AuthenticationSaslContinue(body) => {
                let scram = self.begun.as_mut().ok_or(OUT_OF_TURN)?;
                let updated = scram.update(body.data());
                updated.map_err(|fault| fault.to_string())?;
                frontend::sasl_response(scram.message(), &mut out)
                    .map_err(|fault| fault.to_string())?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let scram = self.begun.as_mut().ok_or(OUT_OF_TURN)?;
                let finished = scram.finish(body.data());
                finished.map_err(|_| "it does not prove that it knows the password")?;
                self.is_proven = true;
            }
            Message::AuthenticationCleartextPassword | Message::AuthenticationMd5Password(_) => {
                return Err("it asks for a password in a form that gives it away: only \
                            scram-sha-256 is answered"
                    .to_owned());
            }
            _ => return Err(OUT_OF_TURN.to_owned()),
        }
        Ok(out)
    }

    fn begin(&mut self, body: &AuthenticationSaslBody, out: &mut BytesMut) -> Result<(), String> {
        let password = self
            .password
            .ok_or("it asks for a password, and none is known")?;
        let offered = body.mechanisms().map(|one| Ok(one == SCRAM_SHA_256));
        let offered: Vec<bool> = offered.collect().map_err(|_| UNREADABLE)?;
        if self.begun.is_some() || !offered.contains(&true) {
            return Err("it does not offer SCRAM-SHA-256".to_owned());
        }
        let scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)
            .map_err(|fault| fault.to_string())?;
        self.begun = Some(scram);
        Ok(())
    }
}

/// Asks for TLS, and has its handshake. Nothing of the server's is believed before.
async fn seal(channel: &mut Channel, client: &Client) -> Result<(), String> {
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    let written = channel.stream.write_all(out.to_vec()).await.0;
    written.map_err(|fault| fault.to_string())?;
    let (result, answer) = channel.stream.read(Vec::with_capacity(1)).await;
    match (result, &answer[..]) {
        (Ok(1), b"S") => channel.secure(client).await,
        (Ok(1), b"N") => Err("it does not speak TLS".to_owned()),
        (Ok(_), _) => Err(OUT_OF_TURN.to_owned()),
        (Err(fault), _) => Err(fault.to_string()),
    }
}
