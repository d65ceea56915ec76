// What becomes of this tab: seen or hidden, frozen, offline, asleep with its machine.

const PULSE = 5; // seconds
const SLEPT = 5; // seconds by which the clocks part, or a timer of a visible tab is late, where the machine slept
const UNSEEN = 30; // seconds hidden after which nobody knows what timers did meanwhile

/**
 * Tells `tell` in a word: "hidden", "visible", "paused" (hidden for `pauseAfter` seconds), "frozen" (about to be stopped
 * by the browser), "thawed", "woke" (the network may be another) and, every few seconds, "pulse".
 */
export class Presence {
  #tell;
  #pauseAfter;
  #pausing;
  #pulsing;
  #hiddenAt = -Infinity;
  #last = null;
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
    listen(navigator?.connection, ["change"], () => this.#tell("woke"));
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
    this.#last = null;
    if (this.hidden) {
      this.#hiddenAt = performance.now();
      if (this.#pauseAfter < Infinity) this.#pausing = setTimeout(() => this.#tell("paused"), this.#pauseAfter * 1000);
      this.#tell("hidden");
    } else {
      this.#tell("visible");
      if (performance.now() - this.#hiddenAt > UNSEEN * 1000) this.#tell("woke");
    }
  }

  #pulse() {
    const now = { wall: Date.now() / 1000, steady: performance.now() / 1000 };
    const before = this.#last;
    this.#last = now;
    if (before) {
      const passed = now.steady - before.steady;
      const parted = now.wall - before.wall - passed; // some systems stop the steady clock while they sleep
      if (parted > SLEPT || (passed > PULSE + SLEPT && !this.hidden)) this.#tell("woke");
    }
    this.#tell("pulse");
  }
}
