use super::RawClient;
use crate::TestFrame;
use serde::Serialize;
use serde_json::{Value, json};

/// Frames for calls and subscriptions.
impl RawClient {
    /// Sends a frame of the protocol.
    pub fn packet(&mut self, packet: Value) {
        self.frame(&TestFrame::packet(self.format(), &packet));
    }

    /// Calls a procedure.
    #[track_caller]
    pub fn call(&mut self, id: &str, path: &str, input: impl Serialize) {
        self.packet(json!({ "type": "call", "id": id, "path": path, "input": input }));
    }

    /// Starts a subscription.
    #[track_caller]
    pub fn subscribe(&mut self, id: &str, path: &str, input: impl Serialize) {
        self.packet(json!({ "type": "subscribe", "id": id, "path": path, "input": input }));
    }

    /// Starts a subscription with credit for this many items.
    #[track_caller]
    pub fn subscribe_with_credit(&mut self, id: &str, path: &str, input: impl Serialize, credit: u32) {
        self.packet(json!({ "type": "subscribe", "id": id, "path": path, "input": input, "credit": credit }));
    }

    /// Grants a subscription more items.
    pub fn grant(&mut self, id: &str, more: u32) {
        self.packet(json!({ "type": "credit", "id": id, "more": more }));
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, id: &str) {
        self.packet(json!({ "type": "unsubscribe", "id": id }));
    }

    /// Cancels a call.
    pub fn cancel(&mut self, id: &str) {
        self.packet(json!({ "type": "cancel", "id": id }));
    }

    /// Sends an event.
    #[track_caller]
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        self.packet(json!({ "type": "event", "name": name, "data": data }));
    }

    /// Checks that the next frame is this one.
    #[track_caller]
    pub fn expect_packet(&mut self, packet: Value) {
        assert_eq!(self.recv_packet(), packet);
    }

    /// Checks that the next frame is the result of a call.
    #[track_caller]
    pub fn expect_result(&mut self, id: &str, data: impl Serialize) {
        self.expect_packet(json!({ "type": "result", "id": id, "data": data }));
    }

    /// Checks that the next frame is the error that ends a call or subscription. Returns the error.
    #[track_caller]
    pub fn expect_failed(&mut self, id: &str, code: &str) -> Value {
        let found = self.recv_packet();
        let head = (&found["type"], &found["id"], &found["error"]["code"]);
        assert_eq!(head, (&"error".into(), &id.into(), &code.into()), "{found}");
        found["error"].clone()
    }

    /// Checks that the next frame is an item of a subscription, without a position.
    #[track_caller]
    pub fn expect_data(&mut self, id: &str, data: impl Serialize) {
        self.expect_packet(json!({ "type": "data", "id": id, "data": data }));
    }

    /// Checks that the next frame is the end of a subscription.
    #[track_caller]
    pub fn expect_complete(&mut self, id: &str) {
        self.expect_packet(json!({ "type": "complete", "id": id }));
    }

    /// Makes a call, and checks that its result is the next frame.
    #[track_caller]
    pub fn echoes(&mut self) {
        self.call("echo", "echo", "still here");
        self.expect_result("echo", "still here");
    }
}
