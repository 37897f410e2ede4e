// The server of ../../../examples/in-browsers, on each adapter.

import type { Browser } from "puppeteer-core";
import { type Server, start, stop } from "../servers.js";
import type { Place } from "./cases.js";
import { Tab } from "./tab.js";

export const ADAPTERS = ["axum", "actix", "hyper", "smol", "async-std"] as const;

/** With TLS, over which browsers choose HTTP/2. */
export const ENCRYPTED = ["axum-tls", "actix-tls", "hyper-tls"] as const;

export type Adapter = (typeof ADAPTERS)[number] | (typeof ENCRYPTED)[number];

/** A server that a test can end and start again. */
export class Fixture implements Place {
  #adapter: Adapter;
  readonly #browser: Browser;
  /** The origin of the pages, where a proxy is in front of the server. */
  readonly #front: string | undefined;
  #server: Server;

  private constructor(adapter: Adapter, browser: Browser, front: string | undefined, server: Server) {
    this.#adapter = adapter;
    this.#browser = browser;
    this.#front = front;
    this.#server = server;
  }

  /** Starts it: at a free port, or behind a proxy, at the port to which that passes requests on. */
  static async start(adapter: Adapter, browser: Browser, proxy?: { front: string; port: number }) {
    const server = await start("in-browsers", proxy?.port, [adapter]);
    return new Fixture(adapter, browser, proxy?.front, server);
  }

  get origin(): string {
    return this.#front ?? this.#server.origin;
  }

  get url(): string {
    return `${this.#server.origin}/__realtime/browsers`;
  }

  tab(): Promise<Tab> {
    return Tab.open(this.#browser, this.origin);
  }

  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void> {
    return stop(this.#server, signal);
  }

  /** Starts it again, perhaps on another adapter. */
  async start(adapter = this.#adapter): Promise<void> {
    this.#adapter = adapter;
    this.#server = await start("in-browsers", this.#server.port, [this.#adapter]);
  }
}
