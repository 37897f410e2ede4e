// A client that openapi-typescript and openapi-fetch make of the OpenAPI document: `node client.mjs http://HOST:PORT`.
// It fails where the counter's answers are not those of the document.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";

/** @import { paths } from "counter-open-api" */

/** @type {import("openapi-fetch").Client<paths>} */
const client = createClient({ baseUrl: process.argv[2], headers: { authorization: "Ann" } });

const zero = await client.GET("/__realtime/counter/get_count");
assert.deepEqual(zero.data, { ok: true, data: 0 });

const params = { header: { "Idempotency-Key": "once" } };
const five = await client.POST("/__realtime/counter/update_count", { body: 5, params });
const again = await client.POST("/__realtime/counter/update_count", { body: 5, params });
assert.equal(number(five.data), 5);
assert.equal(number(again.data), 5);

// The server asks the client before it resets, which cannot be done by HTTP.
const { data, error, response } = await client.POST("/__realtime/counter/reset");
assert.equal(data, undefined);
assert.deepEqual([response.status, code(error)], [412, "FAILED_PRECONDITION"]);

// @ts-expect-error: the type of the input is that of the server.
const wrong = await client.POST("/__realtime/counter/update_count", { body: "five" });
assert.deepEqual([wrong.response.status, code(wrong.error)], [400, "INVALID_ARGUMENT"]);

/** @param {{ data: number } | undefined} body */
function number(body) {
  return body?.data;
}

/** @param {{ error: { code: string } } | undefined} body */
function code(body) {
  return body?.error.code;
}
