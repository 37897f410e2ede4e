use crate::{
    support::{Network, Server, tell},
    values::{
        error_value, give_answer, leak, millis, next_token, offline_queue, position, procedure, update_value,
    },
};
use futures_util::FutureExt;
use realtime_client::{
    CallOptions, Client, ClientBuilder, ClientError, Messages, State, States, Updates, Written,
};
use realtime_core::{Event, Subscription};
use serde_json::{Map, Value, json};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, yield_now},
    time::sleep,
};

/// One run of a script.
pub(crate) struct Play {
    network: Network,
    builder: Option<ClientBuilder>,
    client: Option<(Client, States)>,
    listens: bool,
    states: VecDeque<State>,
    server: Option<Server>,
    /// The `Authorization` of the last connection.
    authorization: Option<String>,
    told: HashMap<String, (UnboundedSender<Value>, UnboundedReceiver<Value>)>,
    calls: HashMap<String, AbortHandle>,
    results: Arc<Mutex<HashMap<String, Written<Value>>>>,
    updates: HashMap<String, Updates<Value>>,
    messages: Option<Messages<Value>>,
    /// The current step, for failure messages.
    pub(crate) place: String,
}

impl Play {
    pub(crate) fn new(options: &Value) -> Self {
        let (network, builder) = Network::new();
        let mut play = Self {
            network,
            builder: None,
            client: None,
            listens: options["messages"] == true,
            states: VecDeque::new(),
            server: None,
            authorization: None,
            told: HashMap::new(),
            calls: HashMap::new(),
            results: Arc::default(),
            updates: HashMap::new(),
            messages: None,
            place: String::new(),
        };
        play.builder = Some(play.build(builder, options));
        play
    }

    fn build(&mut self, mut builder: ClientBuilder, options: &Value) -> ClientBuilder {
        if let Some(queue) = options.get("offlineQueue") {
            builder = builder.offline_queue(offline_queue(queue));
        }
        if let Some(after) = millis(&options["pingAfterMs"]) {
            builder = builder.heartbeat(after, millis(&options["pingTimeoutMs"]).unwrap());
        }
        if let Some(timeout) = millis(&options["connectTimeoutMs"]) {
            builder = builder.connect_timeout(timeout);
        }
        if let Some(codes) = options["reconnectOn"].as_array().cloned() {
            builder = builder.reconnect_on(move |code| codes.contains(&json!(code)));
        }
        if let Some(tokens) = options["tokens"].as_array().cloned() {
            let tokens = Mutex::new(VecDeque::from(tokens));
            builder = builder.token(move || std::future::ready(next_token(&mut tokens.lock().unwrap())));
        }
        for (name, answer) in options["answers"].as_object().into_iter().flatten() {
            let answer = answer.clone();
            builder = builder.on_call(procedure(name), move |_| give_answer(answer.clone()));
        }
        for name in options["events"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            let tell = self.teller(name);
            builder = builder.on(Event::<Value>::new(leak(name)), move |data| {
                tell.send(json!({ "data": data })).unwrap();
                std::future::ready(())
            });
        }
        builder
    }

    pub(crate) async fn step(&mut self, step: &Map<String, Value>) {
        if !step.contains_key("port") {
            self.begin();
        }
        let has = |verb| step.get(verb).and_then(Value::as_str);
        if let Some(name) = has("call") {
            self.call(name, step);
        } else if let Some(name) = has("cancel") {
            self.calls[name].abort();
        } else if let Some(name) = has("subscribe") {
            self.subscribe(name, step);
        } else if let Some(name) = has("unsubscribe") {
            self.updates.remove(name);
        } else if let Some(name) = has("emit") {
            let emitted = self.client().emit(Event::<Value>::new(leak(name)), step["data"].clone());
            self.check_sent(emitted, step);
        } else if let Some(value) = step.get("send") {
            let sent = self.client().send(value);
            self.check_sent(sent, step);
        } else if step.contains_key("close") {
            let client = self.client().clone();
            tokio::spawn(async move { client.close().await });
        } else if step.contains_key("state") || step.contains_key("lastState") {
            turns().await;
            self.check_state(step);
        } else if let Some(name) = has("told") {
            for _ in 0..step.get("times").and_then(Value::as_u64).unwrap_or(1) {
                self.check_told(name, step).await;
            }
        } else if let Some(name) = has("untold") {
            let told = self.next_told(name).await;
            assert_eq!(told, None, "{}", self.place);
        } else if let Some(name) = has("has") {
            let written = &self.results.lock().unwrap()[step["written"].as_str().unwrap()];
            assert_eq!(json!(self.updates[name].has(written)), step["is"], "{}", self.place);
        } else if let Some(time) = step.get("wait") {
            sleep(millis(time).unwrap()).await;
        } else {
            self.play_server(step).await;
        }
        turns().await;
    }

    async fn play_server(&mut self, step: &Map<String, Value>) {
        let (verb, value) = step.iter().find(|(name, _)| VERBS.contains(&name.as_str())).expect("no such step");
        match verb.as_str() {
            "accept" => {
                let heartbeat = step.get("heartbeatMs").cloned().unwrap_or(json!(25_000));
                self.upgrade().await;
                let welcome = json!({"type": "welcome", "connection": value, "heartbeatMs": heartbeat});
                self.server().send(welcome).await;
            }
            "upgrade" => self.upgrade().await,
            "token" => {
                let expected = format!("Bearer {}", value.as_str().unwrap());
                assert_eq!(self.authorization.as_ref(), Some(&expected), "{}", self.place);
            }
            "respond" => {
                let after = step.get("retryAfter").map(|after| format!("Retry-After: {after}\r\n"));
                let after = after.unwrap_or_default();
                let response = format!("HTTP/1.1 {value} Refused\r\n{after}Content-Length: 0\r\n\r\n");
                self.network.respond(&response).await;
            }
            "port" => self.network.refuse(value == "closed"),
            "say" => {
                for _ in 0..step.get("times").and_then(Value::as_u64).unwrap_or(1) {
                    self.server().send(value.clone()).await;
                }
            }
            "text" => self.server().send_text(value.as_str().unwrap()).await,
            "closes" => {
                let mut server = self.server.take().expect("there is no connection");
                server.say_close(value.as_u64().unwrap() as u16).await;
            }
            "breaks" => drop(self.server.take()),
            "sent" => {
                let frame = self.server().recv().await;
                self.check_fields(&frame, value);
            }
            "pinged" => self.server().pinged().await,
            "quiet" => self.server().hears_nothing_for(millis(value).unwrap()).await,
            "goodbye" => {
                assert_eq!(json!(self.server().closed().await), *value, "{}", self.place);
                self.server().gone().await;
            }
            "attempts" => self.check_value(&json!(self.network.attempts()), value),
            _ => unreachable!(),
        }
    }

    /// Connects, after an initial `port` step has opened or closed the port.
    fn begin(&mut self) {
        let Some(builder) = self.builder.take() else { return };
        let client = builder.connect();
        let states = client.states();
        self.messages = self.listens.then(|| client.messages());
        self.client = Some((client, states));
    }

    async fn upgrade(&mut self) {
        let server = self.network.upgraded().await;
        self.authorization.clone_from(&server.authorization);
        self.server = Some(server);
    }

    fn call(&mut self, name: &str, step: &Map<String, Value>) {
        let mut procedure = procedure(step["path"].as_str().unwrap());
        if let Some(limit) = step.get("limitMs").and_then(millis) {
            procedure = procedure.with_timeout(limit);
        }
        let tell = self.teller(name);
        let progress = tell.clone();
        let mut options =
            CallOptions::new().on_progress(move |data: Value| progress.send(json!({ "progress": data })).unwrap());
        if let Some(timeout) = step.get("timeoutMs").and_then(millis) {
            options = options.timeout(timeout);
        }
        if let Some(key) = step.get("key").and_then(Value::as_str) {
            options = options.idempotency_key(key);
        }
        let call = self.client().call_with(procedure, step["input"].clone(), options);
        let (results, call_name) = (Arc::clone(&self.results), name.to_owned());
        let task = tokio::spawn(async move {
            let told = match call.written().await {
                Ok(written) => {
                    let told = json!({ "result": written.value, "wrote": written.at });
                    results.lock().unwrap().insert(call_name, written);
                    told
                }
                Err(error) => json!({ "error": error_value(&error) }),
            };
            // The script may be over.
            let _ = tell.send(told);
        });
        self.calls.insert(name.to_owned(), task.abort_handle());
    }

    fn subscribe(&mut self, name: &str, step: &Map<String, Value>) {
        let path = Subscription::<Value, Value>::new(leak(step["path"].as_str().unwrap()));
        let (client, input) = (self.client(), step["input"].clone());
        let updates = match step.get("after") {
            Some(after) => client.subscribe_after(path, input, position(after)),
            None => client.subscribe(path, input),
        };
        self.updates.insert(name.to_owned(), updates);
    }

    async fn check_told(&mut self, name: &str, step: &Map<String, Value>) {
        let told = self.next_told(name).await.unwrap_or_else(|| panic!("{}: nothing is told", self.place));
        let mut expected = Value::Object(step.clone());
        expected.as_object_mut().unwrap().retain(|field, _| field != "told" && field != "times");
        match step.get("error") {
            Some(error) => self.check_fields(&told["error"], error),
            None => self.check_fields(&told, &expected),
        }
    }

    async fn next_told(&mut self, name: &str) -> Option<Value> {
        turns().await;
        if let Some(updates) = self.updates.get_mut(name) {
            let update = updates.next().now_or_never()?;
            if !matches!(update, Some(Ok(_))) {
                self.updates.remove(name);
            }
            return Some(update_value(update));
        }
        if name == "messages" {
            return Some(match self.messages.as_mut()?.next().now_or_never()?? {
                Ok(data) => json!({ "data": data }),
                Err(error) => json!({ "error": error_value(&error) }),
            });
        }
        self.told.get_mut(name)?.1.try_recv().ok()
    }

    fn check_state(&mut self, step: &Map<String, Value>) {
        let (_, states) = self.client.as_mut().unwrap();
        while let Some(Some(state)) = states.next().now_or_never() {
            self.states.push_back(state);
        }
        let expected = step.get("state").or(step.get("lastState")).unwrap();
        let state = if step.contains_key("state") { self.states.pop_front() } else { self.states.back().cloned() };
        let state = state.unwrap_or_else(|| panic!("{}: there is no other state", self.place));
        if step.contains_key("lastState") {
            self.states = VecDeque::from([state.clone()]);
        }
        let told = json!(tell(&state));
        assert_eq!(told, *expected, "{}", self.place);
        if let State::Reconnecting { after, .. } = state {
            let within = step.get("withinMs").and_then(millis).unwrap_or(Duration::MAX);
            let from = step.get("fromMs").and_then(millis).unwrap_or_default();
            assert!((from..=within).contains(&after), "{}: {after:?}", self.place);
        }
    }

    fn check_sent(&self, sent: Result<(), ClientError>, step: &Map<String, Value>) {
        match (sent, step.get("fails")) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => self.check_fields(&error_value(&error), expected),
            (sent, _) => panic!("{}: {sent:?}", self.place),
        }
    }

    fn check_fields(&self, actual: &Value, expected: &Value) {
        for (name, expected) in expected.as_object().unwrap() {
            self.check_value(actual.get(name).unwrap_or(&Value::Null), expected);
        }
    }

    fn check_value(&self, actual: &Value, expected: &Value) {
        match expected.get("atMost") {
            Some(most) => assert!(actual.as_u64().unwrap() <= most.as_u64().unwrap(), "{}: {actual}", self.place),
            None => assert_eq!(actual, expected, "{}", self.place),
        }
    }

    fn client(&self) -> &Client {
        &self.client.as_ref().expect("it has not begun").0
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("there is no connection")
    }

    fn teller(&mut self, name: &str) -> UnboundedSender<Value> {
        self.told.entry(name.to_owned()).or_insert_with(unbounded_channel).0.clone()
    }
}

/// The steps of the server.
const VERBS: [&str; 14] = [
    "accept", "upgrade", "token", "respond", "port", "say", "text", "closes", "breaks", "sent", "pinged", "quiet",
    "goodbye", "attempts",
];

/// Lets all tasks run until they wait, without advancing time.
async fn turns() {
    for _ in 0..500 {
        yield_now().await;
    }
}
