/** Takes a stream of server-sent events apart, in whatever pieces its text comes. Only their data matter here. */
export class EventParser {
  #rest = "";
  #data: string[] = [];

  /** The data of the events that this text completes. */
  push(text: string): string[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#read(line) ?? []);
  }

  #read(line: string): string | undefined {
    if (line === "") return this.#end();
    if (line === "data") this.#data.push("");
    else if (line.startsWith("data:")) this.#data.push(line.slice(5).replace(/^ /, ""));
    return undefined;
  }

  #end(): string | undefined {
    const data = this.#data;
    this.#data = [];
    return data.length > 0 ? data.join("\n") : undefined;
  }
}
