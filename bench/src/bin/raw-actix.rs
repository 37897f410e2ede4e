//! actix-ws. The chat holds a list of sessions and sends to one after the other, as its example does.

use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use bench::{Outcome, process};
use futures_util::StreamExt;
use std::sync::Arc;
use tokio::sync::Mutex;

fn main() -> Outcome {
    process::prepare()?;
    actix_web::rt::System::new().block_on(serve())
}

async fn serve() -> Outcome {
    let talk = Talk::default();
    let app = move || {
        let app = App::new().app_data(web::Data::new(talk.clone()));
        app.route("/echo", web::get().to(open_echo)).route("/chat", web::get().to(open_chat))
    };
    let server = HttpServer::new(app).workers(bench::pool()?.unwrap_or(1)).tcp_nodelay(true);
    Ok(server.listen(bench::listen()?)?.run().await?)
}

#[derive(Clone, Default)]
struct Talk(Arc<Mutex<Vec<Session>>>);

async fn open_echo(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(echo(session, stream.aggregate_continuations()));
    Ok(response)
}

async fn echo(mut session: Session, mut stream: AggregatedMessageStream) {
    while let Some(Ok(message)) = stream.next().await {
        let sent = match message {
            AggregatedMessage::Text(text) => session.text(text).await,
            AggregatedMessage::Binary(bytes) => session.binary(bytes).await,
            AggregatedMessage::Ping(bytes) => session.pong(&bytes).await,
            AggregatedMessage::Pong(_) => Ok(()),
            AggregatedMessage::Close(reason) => {
                let _ = session.close(reason).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn open_chat(
    request: HttpRequest,
    body: web::Payload,
    talk: web::Data<Talk>,
) -> Result<HttpResponse, Error> {
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    talk.0.lock().await.push(session.clone());
    actix_web::rt::spawn(chat(session, stream.aggregate_continuations(), talk));
    Ok(response)
}

async fn chat(mut session: Session, mut stream: AggregatedMessageStream, talk: web::Data<Talk>) {
    while let Some(Ok(message)) = stream.next().await {
        let sent = match message {
            AggregatedMessage::Text(text) => {
                let mut sessions = talk.0.lock().await;
                let mut there = Vec::with_capacity(sessions.len());
                for mut session in sessions.drain(..) {
                    // A session whose client has left returns an error, and is removed.
                    if session.text(text.clone()).await.is_ok() {
                        there.push(session);
                    }
                }
                *sessions = there;
                Ok(())
            }
            AggregatedMessage::Ping(bytes) => session.pong(&bytes).await,
            AggregatedMessage::Close(reason) => {
                let _ = session.close(reason).await;
                return;
            }
            AggregatedMessage::Binary(_) | AggregatedMessage::Pong(_) => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}
