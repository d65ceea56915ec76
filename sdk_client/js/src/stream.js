// `FlagStream`: the versions of one environment as they are announced, for pages that fetch by themselves.

import { checkKey, checkSeconds, checkUrl, streamAddress } from "./addresses.js";
import { Connection } from "./connection.js";
import { Driver, monotonic } from "./driver.js";
import { Emitter } from "./emitter.js";
import { Member } from "./member.js";
import { announcement } from "./subscription.js";
import { opener } from "./transport.js";
import { secondsOf } from "./versions.js";

const REPLAY = 0.3; // seconds: what arrives this soon after a stream went live was announced before

export class FlagStream {
  version = 0; // the newest announced, in microseconds since the epoch
  state = "connecting"; // connecting, live, waiting (for `retryIn`), paused, closed
  #retryAt = 0; // seconds, of the monotonic clock
  #emitter = new Emitter();
  #options;
  #member;
  #driver = null;
  #connection = null;
  #since = 0;
  #first = true;

  constructor({ environmentKey, streamUrl, heartbeat = 15, shared = true, pauseAfter = 300, relieveAfter, random,
                backoff, fetch, EventSource } = {}) {
    checkSeconds({ pauseAfter, ...(relieveAfter !== undefined && { relieveAfter }) });
    checkSeconds({ heartbeat }, { above: true });
    const url = streamAddress(checkUrl(streamUrl, "streamUrl"), checkKey(environmentKey));
    this.#options = { url, heartbeat, random, backoff, fetch, EventSource };
    const part = {
      run: () => this.#run(),
      halt: (paused) => this.#halt(paused),
      woke: () => this.#woke(),
      silence: () => this.#driver.silence,
      state: () => ({ kind: "state", state: this.state, retryIn: this.retryIn, version: this.version }),
      hear: (message) => this.#hear(message),
    };
    this.#member = new Member(`flagstream/1 ${url}`, part, { shared, pauseAfter, relieveAfter });
    this.#member.start();
  }

  /** Whether this tab has the stream; others are told by one that has. */
  get leading() {
    return this.#member.leading;
  }

  /** Seconds until the next stream is opened, while the state is "waiting". */
  get retryIn() {
    const left = this.state === "waiting" ? this.#retryAt - monotonic() : 0;
    return Number.isFinite(left) ? Math.max(0, left) : 0;
  }

  /** "version": {version, updatedAt, replay}; "state": the state; "stream": {opened} or {ended}. Returns what ends it. */
  on(name, callback) {
    return this.#emitter.on(name, callback);
  }

  /** Open the next stream now, wherever a wait stands. */
  wake() {
    this.#member.wake();
  }

  close() {
    if (this.state === "closed") return;
    this.#member.close();
    this.#become("closed");
  }

  #run() {
    const { url, heartbeat, random, backoff, fetch, EventSource } = this.#options;
    const { open, patience } = opener(url, heartbeat, { fetch, EventSource });
    this.#connection = new Connection({ heartbeat: patience, random, backoff });
    const driver = (this.#driver = new Driver(this.#connection, { open, tell: (action) => this.#took(action) }));
    this.#become("connecting"); // whoever is told may close: then it starts nothing
    driver.start("start");
  }

  #halt(paused) {
    this.#driver?.stop();
    this.#driver = null;
    if (paused) this.#become("paused");
  }

  #woke() {
    this.#driver.woke();
    if (this.state === "waiting") this.#wait();
  }

  #wait() {
    this.#retryAt = this.#connection.openAt;
    this.#become("waiting");
  }

  #took(action) {
    const { live } = this.#connection;
    if (action.do === "open" && !live) this.#become("connecting");
    else if (action.do === "live") {
      this.#since = monotonic();
      this.#first = true;
      this.#emitter.emit("stream", { opened: true, seconds: action.seconds });
      this.#become("live");
    } else if (action.do === "ended") {
      this.#emitter.emit("stream", { opened: false, end: action.end, wait: action.wait });
      if (live) return;
      if (action.end.isError) this.#wait();
      else this.#become("connecting");
    } else if (action.do === "received") this.#received(action.item);
  }

  #received(item) {
    let version;
    try {
      version = announcement(item);
    } catch {
      return; // one bad event must not end a stream that goes on well
    }
    if (version === null) return;
    const replay = this.#first || monotonic() - this.#since < REPLAY;
    this.#first = false;
    this.#announce(version, replay);
  }

  #announce(version, replay) {
    if (!(Number.isSafeInteger(version) && version > this.version)) return; // streams repeat what they know
    this.version = version;
    this.#member.tell({ kind: "version", version, replay });
    this.#emitter.emit("version", { version, updatedAt: secondsOf(version), replay });
  }

  #hear(message) {
    if (message.kind === "version") this.#announce(message.version, message.replay);
    if (message.kind !== "state") return;
    this.#announce(message.version, true);
    this.#retryAt = monotonic() + message.retryIn;
    this.#become(message.state);
  }

  #become(state) {
    if (this.state === "closed" || (state === this.state && state !== "waiting")) return;
    this.state = state;
    this.#member.tell({ kind: "state", state, retryIn: this.retryIn, version: this.version });
    this.#emitter.emit("state", state);
    if (state === "closed") this.#emitter.clear();
  }
}
