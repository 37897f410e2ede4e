/** One server-sent event. */
export interface StreamEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string | undefined;
  /** True if the server has said when to come back. */
  readonly hasRetry: boolean;
}

/** Takes a stream of server-sent events apart, in whatever pieces its text comes. */
export class EventParser {
  #rest = "";
  #name = "";
  #data: string[] = [];
  #id: string | undefined;
  #hasRetry = false;

  /** The events that this text completes. */
  push(text: string): StreamEvent[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#read(line) ?? []);
  }

  #read(line: string): StreamEvent | undefined {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
    else if (field === "retry") this.#hasRetry = true;
    return undefined;
  }

  #end(): StreamEvent | undefined {
    const event = { name: this.#name, data: this.#data.join("\n"), id: this.#id, hasRetry: this.#hasRetry };
    const isEvent = this.#data.length > 0;
    this.#name = "";
    this.#data = [];
    this.#id = undefined;
    return isEvent ? event : undefined;
  }
}
