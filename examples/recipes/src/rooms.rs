use realtime_core::{AnyConnection, Endpoint, Error, Event, Presence, Procedure, Realtime, Result, Topic};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    pub room: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub room: String,
    pub text: String,
}

pub const JOIN: Procedure<Join, ()> = Procedure::new("rooms.join").with_check(Join::check);
pub const LEAVE: Procedure<String, ()> = Procedure::new("rooms.leave");
pub const SAY: Procedure<Said, ()> = Procedure::new("rooms.say");
pub const SAID: Event<Said> = Event::new("rooms.said");

/// Those who hear what is said in a room.
fn room(name: &str) -> Topic<()> {
    Topic::new(format!("room:{name}"))
}

/// Those who are shown in it, each with a name. All of them are told who comes and goes, also by a lost connection.
fn people(room: &str) -> Presence<String> {
    Presence::new(format!("room:{room}"))
}

impl Join {
    fn check(&self) -> Result {
        let fits = |text: &str| (1..=40).contains(&text.chars().count());
        if fits(&self.room) && fits(&self.name) {
            Ok(())
        } else {
            Err(Error::invalid_argument("1 to 40 characters"))
        }
    }
}

pub fn realtime() -> Realtime {
    let rooms = Endpoint::new(())
        .procedure(JOIN, |call, join: Join| async move { enter(&call.connection()?, &join) })
        .procedure(LEAVE, |call, name: String| async move {
            let client = call.connection()?;
            client.unsubscribe(&room(&name));
            client.leave(&people(&name));
            Ok(())
        })
        .procedure(SAY, |call, said: Said| async move {
            if !call.connection()?.is_subscribed(&room(&said.room)) {
                return Err(Error::failed_precondition("join the room first"));
            }
            call.to(&room(&said.room)).emit(SAID, &said)
        });
    Realtime::builder().endpoint("api", rooms).build()
}

fn enter(client: &AnyConnection, join: &Join) -> Result {
    client.subscribe(&room(&join.room))?;
    client.enter(&people(&join.room), &join.name)
}

/// The names in a room, for a page of an administrator or a route of your own.
pub fn names(realtime: &Realtime, room: &str) -> Vec<String> {
    realtime.present(&people(room)).into_iter().map(|present| present.data).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};
    use realtime_core::PRESENCE;

    #[test]
    fn a_room_hears_its_members_and_sees_them_come_and_go() {
        block_on(async {
            let server = TestServer::new(realtime());
            let mut ann = server.open("api").await.unwrap();
            let mut bob = server.open("api").await.unwrap();
            let join = |name: &str| Join { room: "rust".into(), name: name.into() };
            ann.call(JOIN, join("Ann")).await.unwrap();
            assert!(ann.expect_event(PRESENCE).await.here.unwrap().is_empty());
            assert_eq!(ann.expect_event(PRESENCE).await.joined[0].data, "Ann");
            let said = Said { room: "rust".into(), text: "Anybody here?".into() };
            let refused = bob.call(SAY, said.clone()).await;
            assert_eq!(refused.unwrap_err().code(), "FAILED_PRECONDITION");

            bob.call(JOIN, join("Bob")).await.unwrap();
            assert_eq!(ann.expect_event(PRESENCE).await.joined[0].data, "Bob");
            let mut found = names(server.realtime(), "rust");
            found.sort_unstable();
            assert_eq!(found, ["Ann", "Bob"]);
            ann.call(SAY, said.clone()).await.unwrap();
            assert_eq!(bob.expect_event(SAID).await, said);

            drop(bob); // its connection is lost
            assert_eq!(ann.expect_event(PRESENCE).await.left.len(), 1);
            assert!(ann.call(JOIN, join("")).await.is_err());
            ann.call(LEAVE, "rust".into()).await.unwrap();
            assert_eq!(names(server.realtime(), "rust"), [""; 0]);
        });
    }
}
