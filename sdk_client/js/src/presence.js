// What becomes of this tab: seen or hidden, frozen, offline, asleep with its machine.

import { later } from "./timers.js";

const PULSE = 5; // seconds
const SLEPT = 5; // seconds by which the clocks part, or a timer of a visible tab is late, where the machine slept

function clocks() {
  return { wall: Date.now() / 1000, steady: performance.now() / 1000 };
}

/**
 * Tells `tell` in a word: "hidden", "visible", "paused" (hidden for `pauseAfter` seconds), "frozen" (about to be stopped
 * by the browser), "thawed", "woke" (it slept, or its network is another) and, every few seconds, "pulse".
 */
export class Presence {
  #tell;
  #pauseAfter;
  #pausing;
  #pulsing;
  #last = clocks();
  #stop = new AbortController();

  constructor(pauseAfter, tell) {
    this.#pauseAfter = pauseAfter;
    this.#tell = tell;
  }

  get hidden() {
    return globalThis.document?.visibilityState === "hidden";
  }

  start() {
    const listen = (target, names, act) => {
      for (const name of names) target?.addEventListener?.(name, act, { signal: this.#stop.signal });
    };
    const { document, navigator } = globalThis;
    listen(document, ["visibilitychange"], () => this.#look());
    listen(document, ["freeze"], () => this.#tell("frozen"));
    listen(document, ["resume"], () => this.#tell("thawed"));
    if (document) {
      listen(globalThis, ["pagehide"], () => this.#tell("frozen")); // into the back/forward cache, or for good
      listen(globalThis, ["pageshow"], (event) => event.persisted && this.#tell("thawed"));
    }
    listen(globalThis, ["online"], () => this.#tell("woke"));
    let network = navigator?.connection?.type;
    listen(navigator?.connection, ["change"], () => {
      const before = network;
      network = navigator.connection.type;
      if (network !== before) this.#tell("woke"); // estimates of its speed change all the time
    });
    this.#pulsing = setInterval(() => this.#pulse(), PULSE * 1000);
    this.#pulsing.unref?.(); // in Node it alone keeps no program alive
    if (this.hidden) this.#look();
  }

  stop() {
    this.#stop.abort();
    clearTimeout(this.#pausing);
    clearInterval(this.#pulsing);
  }

  #look() {
    clearTimeout(this.#pausing);
    this.#last = clocks();
    if (this.hidden) {
      if (this.#pauseAfter < Infinity) this.#pausing = later(this.#pauseAfter, () => this.#tell("paused"));
      this.#tell("hidden");
    } else {
      this.#tell("visible");
    }
  }

  #pulse() {
    const [before, now] = [this.#last, clocks()];
    this.#last = now;
    const passed = now.steady - before.steady;
    const parted = now.wall - before.wall - passed; // some systems stop the steady clock while they sleep
    if (parted > SLEPT || (passed > PULSE + SLEPT && !this.hidden)) this.#tell("woke");
    this.#tell("pulse");
  }
}
