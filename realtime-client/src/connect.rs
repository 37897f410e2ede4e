use crate::{
    activity::{Activity, Watched},
    builder::Config,
    handlers::BoxFuture,
    state::Cause,
    wire::{Format, Incoming, error_in},
};
use futures_util::StreamExt;
use realtime_core::Error;
use std::{fmt::Display, io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        error::ProtocolError,
        handshake::client::{Request, Response},
        http::{HeaderValue, Uri, header},
        protocol::WebSocketConfig,
    },
};

/// The bytes of a connection, of whatever carries them.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type BoxIo = Box<dyn Io>;
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<Watched<BoxIo>>>;

/// A connection that the server has welcomed.
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    pub(crate) activity: Activity,
    pub(crate) connection: String,
    pub(crate) heartbeat: Option<Duration>,
}

/// Why an attempt came to nothing, and what the server said about the next.
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

/// Makes one connection: fetches a token, dials, upgrades, and waits for the welcome.
pub(crate) async fn connect(config: &Config) -> Result<Connected, Failure> {
    let mut request = request(&config.url, config.format)?;
    if let Some(token) = &config.token {
        let token = token().await.map_err(|error| Cause::Token(format!("{error:?}")))?;
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| Cause::Token("it has characters that no header may have".to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }

    let io = match &config.dial {
        Some(dial) => dial().await,
        None => dial(request.uri()).await,
    };
    let io = io.map_err(|error| Cause::Lost(error.to_string()))?;
    let activity = Activity::default();
    let io = activity.watch(io);
    let settings = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    welcome(config.format, upgrade(request, io, settings).await?, activity).await
}

fn request(url: &str, format: Format) -> Result<Request, Failure> {
    let invalid = |error: &dyn Display| Cause::Invalid(format!("no URL of a WebSocket, {url:?}: {error}"));
    let mut request = url.into_client_request().map_err(|error| invalid(&error))?;
    match request.uri().scheme_str() {
        Some("ws") => {}
        Some("wss") if cfg!(feature = "rustls") => {}
        Some("wss") => return Err(invalid(&"it needs the feature `rustls`").into()),
        _ => return Err(invalid(&"it begins with neither ws:// nor wss://").into()),
    }
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(format.subprotocol()));
    Ok(request)
}

async fn dial(uri: &Uri) -> io::Result<BoxIo> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    Ok(Box::new(socket))
}

#[cfg(feature = "rustls")]
async fn upgrade(request: Request, io: Watched<BoxIo>, settings: WebSocketConfig) -> Result<Socket, Failure> {
    let connector = match request.uri().scheme_str() {
        Some("wss") => Some(crate::tls::connector().await?),
        _ => None,
    };
    let upgraded = tokio_tungstenite::client_async_tls_with_config(request, io, Some(settings), connector).await;
    Ok(upgraded.map_err(failure)?.0)
}

#[cfg(not(feature = "rustls"))]
async fn upgrade(request: Request, io: Watched<BoxIo>, settings: WebSocketConfig) -> Result<Socket, Failure> {
    let io = MaybeTlsStream::Plain(io);
    let upgraded = tokio_tungstenite::client_async_with_config(request, io, Some(settings)).await;
    Ok(upgraded.map_err(failure)?.0)
}

async fn welcome(format: Format, mut socket: Socket, activity: Activity) -> Result<Connected, Failure> {
    loop {
        let message = match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(frame))) => return Err(closed(frame).into()),
            Some(Ok(_)) => return Err(Cause::Lost("the first frame is no welcome".to_owned()).into()),
            Some(Err(error)) => return Err(Cause::Lost(error.to_string()).into()),
            None => return Err(Cause::Lost("it ended before the welcome".to_owned()).into()),
        };
        return match Incoming::decode(format, &message) {
            Ok(Incoming::Unknown) => continue,
            Ok(Incoming::Welcome { connection, heartbeat }) => {
                Ok(Connected { socket, activity, connection, heartbeat })
            }
            Ok(Incoming::Error { error, .. }) => Err(Cause::Lost(error.to_string()).into()),
            Ok(_) => Err(Cause::Lost("the first frame is no welcome".to_owned()).into()),
            Err(wrong) => Err(Cause::Lost(wrong).into()),
        };
    }
}

/// What a close frame says.
pub(crate) fn closed(frame: Option<tungstenite::protocol::CloseFrame>) -> Cause {
    match frame {
        Some(frame) => Cause::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
        None => Cause::Closed { code: NO_STATUS, reason: String::new() },
    }
}

fn failure(error: tungstenite::Error) -> Failure {
    match error {
        tungstenite::Error::Http(response) => refusal(&response),
        tungstenite::Error::Protocol(error @ ProtocolError::SecWebSocketSubProtocolError(_)) => {
            Cause::Invalid(format!("the server does not speak the subprotocol: {error}")).into()
        }
        error => Cause::Lost(error.to_string()).into(),
    }
}

fn refusal(response: &Response) -> Failure {
    let error = response.body().as_deref().and_then(error_in);
    let told = error.as_ref().and_then(Error::retry_after_hint);
    let header = || {
        let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    };
    let retry_after = told.or_else(header).map(|after| after.min(LONGEST_RETRY_AFTER));
    let message = error.map(|error| error.to_string()).unwrap_or_default();
    Failure { cause: Cause::Refused { status: response.status().as_u16(), message }, retry_after }
}

/// A future that gives a new token.
pub(crate) type Token = Box<dyn Fn() -> BoxFuture<realtime_core::Result<String>> + Send + Sync>;

/// A future that gives the bytes of a new connection.
pub(crate) type Dial = Box<dyn Fn() -> BoxFuture<io::Result<BoxIo>> + Send + Sync>;

/// A close frame without a code.
const NO_STATUS: u16 = 1005;

/// What a connection that is quiet holds: these are allocated at its start.
const READ_BYTES: usize = 8 << 10;

/// Enough for frames to share a write; what waits on top of it can still be taken back.
const WRITE_BYTES: usize = 8 << 10;

/// A server that says more is mistaken.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
