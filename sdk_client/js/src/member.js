// This tab's part in following one environment: it runs what leads while it leads, is not paused and not frozen.

import { Presence } from "./presence.js";
import { Tabs } from "./tabs.js";

const DEAF = 20; // seconds without a heartbeat after which a tab that is seen again looks whether its stream is there

export class Member {
  #part;
  #tabs;
  #presence;
  #running = false;
  #paused = false;
  #frozen = false;
  #closed = false;

  /**
   * `name` is that of those who belong together: by what they follow, and by how they talk, for an older page may be open.
   * `part`: {run(), halt(paused), woke(), silence(), state(), hear(message)}; `state()` is what a tab that comes to follow
   * needs to be told, `silence()` the seconds since anything was heard. `pauseAfter` is in seconds hidden.
   */
  constructor(name, part, { shared, pauseAfter, relieveAfter }) {
    this.#part = part;
    this.#presence = new Presence(pauseAfter, (what) => this.#took(what));
    const member = this;
    const seat = {
      lead: () => {
        this.#arrange();
        if (this.#paused) part.halt(true); // it has no stream either: what the last one told is over
      },
      follow: () => this.#arrange(),
      hear: (message) => this.#hear(message),
      get hidden() {
        return member.#presence.hidden;
      },
      get resting() {
        return member.#paused;
      },
    };
    this.#tabs = new Tabs(name, seat, { shared, relieveAfter });
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
    if (what === "visible" && this.#running && this.#part.silence() > DEAF) this.wake();
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
