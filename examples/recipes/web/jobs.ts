import { connect, describe, mutation } from "realtime-client";

const api = { import: mutation<string[], number, number>("import", { timeoutMs: 600_000 }) };
const client = connect(describe("api"));

export async function send(rows: string[], bar: HTMLProgressElement, cancel: AbortSignal) {
  const count = await client.call(api.import, rows, { onProgress: (part) => (bar.value = part), signal: cancel });
  bar.replaceWith(`${count} rows are imported`);
}
