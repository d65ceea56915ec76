// Polling, for as long as no stream can be had: when, without I/O. Rule 11.

import { uniform } from "./reconnect.js";

const FAILURES = 3; // streams that failed in a row before polling begins
const HASTE = 10; // seconds: a network that comes and goes brings polls forward no more often

/**
 * Plans polls `interval` seconds apart, Infinity for none; `due` is Infinity while there is no need. A stream that goes
 * live and dies again does not move the next poll, neither nearer nor further.
 */
export class Polling {
  on = false;
  #random;
  #interval;
  #next = -Infinity;
  #hastened = -Infinity;

  constructor(random, interval) {
    this.#random = random;
    this.#interval = interval;
  }

  /** When to poll next. */
  get due() {
    return this.on ? this.#next : Infinity;
  }

  /** Take that there is no stream and that `failures` tries in a row brought none. */
  failed(failures, now) {
    if (failures < FAILURES || this.#interval === Infinity || this.on) return;
    this.on = true;
    // At random: a fleet that loses its streams together would otherwise ask together too.
    if (this.#next <= now) this.#next = now + uniform(this.#random, 0, this.#interval);
  }

  /** Begin with a poll in an interval, for there are to be no streams. */
  start(now) {
    this.on = true;
    this.polled(now);
  }

  /** A stream is live. */
  stop() {
    this.on = false;
  }

  polled(now) {
    this.#next = now + this.#interval * uniform(this.#random, 0.9, 1.1);
  }

  /** Bring the next poll forward: the machine slept or its network changed. */
  hasten(now) {
    if (!this.on || now < this.#hastened + HASTE) return;
    this.#hastened = now;
    this.#next = Math.min(this.#next, now + uniform(this.#random, 0, 1));
  }
}
