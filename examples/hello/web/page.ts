import { connect } from "realtime-client";
import { api, endpoint } from "./api";

const client = connect(endpoint); // /__realtime/talk of this host
client.on(api.said, (text) => document.body.append(text, document.createElement("br")));
await client.call(api.say, "hello");
// @ts-expect-error
await client.call(api.say, 5); // error TS2345: Argument of type 'number' is not assignable to parameter of type 'string'.
