// The client, and the names and types of the chat's server, for the page: `npm run pages` in client-ts makes realtime.js of it.
export { PRESENCE, connect, describeCause } from "realtime-client";
export { api, endpoint } from "./api.ts";
