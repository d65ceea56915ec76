// One environment's stream, kept open. A browser's own EventSource closes for good on any answer but 200, and waits
// seconds after a clean end; this one opens the next stream before the running one ends, and backs off when it fails.

import { now } from "./clock.js";

const LONG_ENOUGH = 1_000; // a stream that lived shorter counts as a failure, which breaks any loop
const SHORTEST_LIFE = 5_000; // streams of a server that is stopping say nothing about the next ones
const JOINING = 300; // what arrives this soon after opening was sent before
const SLOWEST = 30_000;
const PATIENCE = 10_000; // for a stream that neither opens nor fails
const NO_NEWS = 1_000; // a gap between two streams that is not worth telling

let life = null; // milliseconds that streams of this server live, once one was seen to end
let rotating = false; // one at a time: browsers allow six connections to a host

export class Stream {
  state = "off"; // off, connecting, live, waiting
  retryAt = 0;
  #source = null;
  #timer = null;
  #failures = 0;
  #tell;
  #onEvent;
  #url;

  constructor(url, { onEvent, onState }) {
    this.#url = url;
    this.#onEvent = onEvent;
    this.#tell = onState;
  }

  open() {
    if (this.state !== "off" && this.state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#become("connecting");
    this.#source = this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#failures = 0;
    this.#become("off");
  }

  #become(state) {
    this.state = state;
    this.#tell(this);
  }

  #connect(opened) {
    const source = new EventSource(this.#url);
    source.events = 0;
    source.addEventListener("open", () => {
      source.openedAt = now();
      if (opened) return opened(source);
      this.#failures = 0;
      this.#become("live");
      this.#planRotation();
    });
    source.addEventListener("environment_updated", (event) => this.#receive(source, event));
    source.addEventListener("error", () => this.#ended(source));
    return source;
  }

  #receive(source, event) {
    const at = performance.now();
    const version = JSON.parse(event.data).updated_at;
    const whileConnecting = source.events++ === 0 || performance.timeOrigin + at - source.openedAt < JOINING;
    this.#onEvent({ version, at, whileConnecting });
  }

  #planRotation() {
    if (life === null) return;
    this.#timer = setTimeout(() => this.#rotate(), life * (0.78 + 0.14 * Math.random()));
  }

  #rotate() {
    if (rotating) {
      this.#timer = setTimeout(() => this.#rotate(), 200 + 300 * Math.random());
      return;
    }
    rotating = true;
    const before = this.#source;
    const next = this.#connect(() => {
      // What is pushed while the next one catches up still comes, and is measured, on this one.
      setTimeout(() => {
        rotating = false;
        before.close();
      }, JOINING);
      if (this.#source !== before) return next.close();
      this.#source = next;
      life = Math.min(life * 1.04, 3_600_000); // never seen to end this way, so try a little longer each time
      this.#planRotation();
    });
    const giveUp = () => {
      if (next.openedAt !== undefined) return;
      rotating = false;
      next.close();
    };
    next.addEventListener("error", giveUp);
    setTimeout(giveUp, PATIENCE);
  }

  #ended(source) {
    source.close();
    if (source !== this.#source) return;
    this.#source = null;
    clearTimeout(this.#timer);
    const lived = source.openedAt === undefined ? 0 : now() - source.openedAt;
    if (lived >= SHORTEST_LIFE) life = lived;
    if (lived >= LONG_ENOUGH) {
      this.#again(Math.random() * 150);
      return;
    }
    this.#failures += 1;
    const longest = Math.min(SLOWEST, 500 * 2 ** this.#failures);
    this.#again(Math.max(500, Math.random() * longest));
    this.#become("waiting");
  }

  #again(delay) {
    this.retryAt = now() + delay;
    this.#timer = setTimeout(() => {
      if (this.state === "waiting") this.#become("connecting");
      const source = (this.#source = this.#connect());
      setTimeout(() => {
        if (source === this.#source && source.openedAt === undefined) this.#become("connecting");
      }, NO_NEWS);
    }, delay);
  }
}
