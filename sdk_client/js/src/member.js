// This tab's part in following one environment: it runs what leads while it leads, is not paused and not frozen.

import { Presence } from "./presence.js";
import { Tabs } from "./tabs.js";

export class Member {
  #part;
  #tabs;
  #presence;
  #running = false;
  #paused = false;
  #frozen = false;
  #closed = false;

  /**
   * `part`: {run(), halt(paused), woke(), state(), hear(message)}; `state()` is what a tab that comes to follow needs to
   * be told. `pauseAfter` is in seconds hidden.
   */
  constructor(name, part, { shared = true, pauseAfter = 300 } = {}) {
    this.#part = part;
    this.#presence = new Presence(pauseAfter, (what) => this.#took(what));
    const presence = this.#presence;
    this.#tabs = new Tabs(name, shared, {
      lead: () => this.#arrange(),
      follow: () => this.#arrange(),
      hear: (message) => this.#hear(message),
      get hidden() {
        return presence.hidden;
      },
    });
  }

  get leading() {
    return this.#tabs.leading;
  }

  start() {
    this.#presence.start();
    this.#tabs.start();
  }

  close() {
    this.#closed = true;
    this.#presence.stop();
    this.#arrange();
    this.#tabs.stop();
  }

  /** Tell the tabs that follow. */
  tell(message) {
    if (this.leading) this.#tabs.post(message);
  }

  /** Look now, wherever the stream is. */
  wake() {
    if (this.#running) this.#part.woke();
    else if (!this.leading) this.#tabs.post({ kind: "wake" });
  }

  #hear(message) {
    if (!this.leading) {
      if (message.leads) this.#part.hear(message);
    } else if (message.kind === "hello") this.tell(this.#part.state());
    else if (message.kind === "wake") this.wake();
  }

  #took(what) {
    if (what === "paused") this.#paused = true;
    if (what === "visible") this.#paused = false;
    if (what === "frozen") this.#freeze();
    if (what === "thawed") this.#thaw();
    if (what === "woke") this.wake();
    if (what === "pulse") this.#pulse();
    this.#arrange();
    if (what === "visible" && !this.leading) this.#tabs.ask();
    if (what === "visible" || what === "hidden") this.tell({ kind: "alive" });
  }

  #freeze() {
    if (this.#frozen) return;
    this.#frozen = true; // the lock of a frozen tab would keep all others waiting
    this.#arrange();
    this.#tabs.stop();
  }

  #thaw() {
    if (!this.#frozen) return;
    this.#frozen = false;
    this.#tabs.start();
  }

  #pulse() {
    if (this.#frozen) return;
    this.#tabs.pulse();
    this.tell({ kind: "alive" });
  }

  #arrange() {
    const runs = this.leading && !this.#paused && !this.#frozen && !this.#closed;
    if (runs === this.#running) return;
    this.#running = runs;
    if (runs) this.#part.run();
    else this.#part.halt(this.#paused);
    if (!this.#closed) this.tell(this.#part.state());
  }
}
