// One environment's stream, kept open by our own browser client and shared by all tabs of this browser.

import { FlagStream } from "../client/flagstream.js";
import { now } from "./clock.js";

const NO_NEWS = 1_000; // milliseconds: a gap between two streams that is not worth telling

export class Stream {
  state = "off"; // off, connecting, live, waiting
  retryAt = 0;
  #stream = null;
  #timer = null;
  #options;
  #onEvent;
  #tell;

  /** `onEvent({version, at, whileConnecting})`, the version in seconds; `onState(this)`. */
  constructor(streamUrl, environmentKey, { onEvent, onState }) {
    // Whoever has this stream closes it where nobody looks, so it need not pause by itself.
    this.#options = { streamUrl, environmentKey, pauseAfter: Infinity };
    this.#onEvent = onEvent;
    this.#tell = onState;
  }

  /** Open the stream; where it waits to be opened again, do not wait. */
  open() {
    if (this.#stream) return this.#stream.wake();
    this.#stream = new FlagStream(this.#options);
    this.#stream.on("state", (state) => this.#follow(state));
    this.#stream.on("version", ({ updatedAt, replay }) => {
      this.#onEvent({ version: updatedAt, at: performance.now(), whileConnecting: replay });
    });
    this.#follow(this.#stream.state);
  }

  close() {
    this.#stream?.close();
    this.#stream = null;
    this.#become("off");
  }

  #follow(state) {
    if (state === "closed") return;
    if (state === "connecting" && this.state === "live") {
      this.#timer = setTimeout(() => this.#become(state), NO_NEWS);
      return;
    }
    this.retryAt = now() + this.#stream.retryIn * 1000;
    this.#become(state);
  }

  #become(state) {
    clearTimeout(this.#timer);
    this.state = state;
    this.#tell(this);
  }
}
