use crate::{
    activity::Activity, builder::Config, dial::dial, handlers::BoxFuture, handshake::upgrade, state::Cause,
    url::Url, wire::payload,
};
use futures_util::StreamExt;
use realtime_protocol::client::{Format, Incoming};
use std::{io, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::CloseFrame},
};

/// The byte stream of a connection.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type BoxIo = Box<dyn Io>;
pub(crate) type Socket = WebSocketStream<BoxIo>;

/// A connection that the server has welcomed.
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    pub(crate) activity: Activity,
    pub(crate) connection: String,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) message_bytes: Option<u64>,
}

/// The cause of a failed attempt, and the server's delay before the next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) retry_after: Option<Duration>,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, retry_after: None }
    }
}

/// Makes one connection: fetches a token and headers, dials, upgrades, and waits for the welcome.
pub(crate) async fn connect(config: &Config) -> Result<Connected, Failure> {
    let url = config.url.as_ref().map_err(|wrong| Cause::Invalid(wrong.clone()))?;
    let headers = config.headers.fetch(url).await?;
    let io = match &config.dial {
        Some(dial) => dial().await,
        None => dial(&url.host, url.port).await.map(|socket| Box::new(socket) as BoxIo),
    };
    let io = io.map_err(|error| Cause::Lost(error.to_string()))?;
    let activity = Activity::default();
    let io = encrypt(config, url, Box::new(activity.watch(io))).await?;
    let socket = upgrade(io, url, config.format.subprotocol(), &headers).await?;
    welcome(config.format, socket, activity).await
}

#[cfg(feature = "rustls")]
async fn encrypt(config: &Config, url: &Url, io: BoxIo) -> Result<BoxIo, Cause> {
    match url.is_secure {
        true => config.tls.connect(&url.host, io).await,
        false => Ok(io),
    }
}

/// Returns the stream unchanged: without this feature, `wss://` URLs do not parse.
#[cfg(not(feature = "rustls"))]
async fn encrypt(_: &Config, _: &Url, io: BoxIo) -> Result<BoxIo, Cause> {
    Ok(io)
}

async fn welcome(format: Format, mut socket: Socket, activity: Activity) -> Result<Connected, Failure> {
    loop {
        let message = match socket.next().await {
            Some(Ok(Message::Close(frame))) => return Err(closed(frame).into()),
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Cause::Lost(error.to_string()).into()),
            None => return Err(Cause::Lost("it ended before the welcome".to_owned()).into()),
        };
        let Some(payload) = payload(&message) else { continue };
        return match Incoming::decode(format, &payload) {
            Ok(Incoming::Unknown) => continue,
            Ok(Incoming::Welcome { connection, heartbeat, message_bytes, .. }) => {
                Ok(Connected { socket, activity, connection, heartbeat, message_bytes })
            }
            Ok(Incoming::Error { error, .. }) => Err(Cause::Lost(error.to_string()).into()),
            Ok(_) => Err(Cause::Lost("the first frame is not a welcome".to_owned()).into()),
            Err(wrong) => Err(Cause::Lost(wrong).into()),
        };
    }
}

/// Returns the code and reason of a close frame.
pub(crate) fn closed(frame: Option<CloseFrame>) -> Cause {
    match frame {
        Some(frame) => Cause::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
        None => Cause::Closed { code: NO_STATUS, reason: String::new() },
    }
}

/// Opens the byte stream of a new connection.
pub(crate) type Dial = Box<dyn Fn() -> BoxFuture<io::Result<BoxIo>> + Send + Sync>;

/// A close frame without a code.
const NO_STATUS: u16 = 1005;
