use adapter_axum::HttpError;
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::put,
};
use realtime_core::{Endpoint, Error, Event, Procedure, Realtime, Result, Topic};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rename {
    pub id: u32,
    pub title: String,
}

pub const RENAME: Procedure<Rename, ()> = Procedure::new("cards.rename");
pub const RENAMED: Event<Rename> = Event::new("cards.renamed");
const BOARD: Topic<()> = Topic::fixed("board");

/// The domain: it knows neither HTTP nor sockets.
#[derive(Clone, Default)]
pub struct Cards(Arc<Mutex<HashMap<u32, String>>>);

impl Cards {
    pub async fn add(&self, id: u32, title: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, title.to_owned());
    }

    pub async fn rename(&self, Rename { id, title }: &Rename) -> Result {
        let mut cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let card = cards.get_mut(id).ok_or_else(|| Error::not_found("this card is gone"))?;
        card.clone_from(title);
        Ok(())
    }
}

/// Changes the domain, and tells the pages that show it: the same for both ways in.
async fn rename(cards: &Cards, realtime: &Realtime, rename: Rename) -> Result {
    cards.rename(&rename).await?;
    realtime.to(&BOARD).emit(RENAMED, &rename)
}

pub fn realtime(cards: &Cards) -> Realtime {
    let api = Endpoint::new(cards.clone())
        .on_open(|client| async move { client.subscribe(&BOARD) })
        .procedure(RENAME, |call, card| async move { rename(call.state(), &call.realtime(), card).await });
    Realtime::builder().endpoint("api", api).build()
}

pub fn app(cards: &Cards, realtime: &Realtime) -> Router {
    let state = (cards.clone(), realtime.clone());
    let routes = Router::new().route("/cards/{id}/title", put(put_title)).with_state(state);
    routes.merge(adapter_axum::routes(realtime))
}

/// An error is answered like that of a call: with the status of its code, and the same body.
async fn put_title(
    State((cards, realtime)): State<(Cards, Realtime)>,
    Path(id): Path<u32>,
    Json(title): Json<String>,
) -> Result<(), HttpError> {
    Ok(rename(&cards, &realtime, Rename { id, title }).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};
    use axum::{body::Body, http::Request};
    use tower_service::Service;

    #[test]
    fn a_route_and_a_call_do_the_same() {
        block_on(async {
            let cards = Cards::default();
            cards.add(7, "Draft").await;
            let server = TestServer::new(realtime(&cards));
            let mut page = server.open("api").await.unwrap();
            let by_call = Rename { id: 7, title: "Plan".into() };
            page.call(RENAME, by_call.clone()).await.unwrap();
            assert_eq!(page.expect_event(RENAMED).await, by_call);

            let mut app = app(&cards, server.realtime());
            let put = |id: u32| {
                let request =
                    Request::put(format!("/cards/{id}/title")).header("content-type", "application/json");
                request.body(Body::from(r#""Done""#)).unwrap()
            };
            assert_eq!(app.call(put(7)).await.unwrap().status(), 200);
            assert_eq!(page.expect_event(RENAMED).await, Rename { id: 7, title: "Done".into() });
            assert_eq!(app.call(put(8)).await.unwrap().status(), 404);
            let missing = page.call(RENAME, Rename { id: 8, title: "Done".into() }).await.unwrap_err();
            assert_eq!(missing.code(), "NOT_FOUND");
        });
    }
}
