import { ask, connect, describe, mutation } from "realtime-client";

const api = { confirm: ask<string, boolean>("confirm"), remove: mutation<string, null>("files.delete", { timeoutMs: 60_000 }) };
const client = connect(describe("api"));

client.answer(api.confirm, (question) => window.confirm(question));

export async function remove(name: string) {
  await client.call(api.remove, name); // fails with the code ABORTED after a no
}
