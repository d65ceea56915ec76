// Polling, for as long as no stream can be had: when, without I/O. Rule 11.

import { uniform } from "./reconnect.js";

const FAILURES = 3; // streams that failed in a row before polling begins

/** Plans polls `interval` seconds apart, Infinity for none; `due` is Infinity while there is no need. */
export class Polling {
  due = Infinity;
  #random;
  #interval;

  constructor(random, interval) {
    this.#random = random;
    this.#interval = interval;
  }

  get on() {
    return this.due < Infinity;
  }

  /** Take that there is no stream and that `failures` tries in a row brought none. */
  failed(failures, now) {
    // At random: a fleet that loses its streams together would otherwise ask together too.
    if (failures >= FAILURES && !this.on) this.due = now + uniform(this.#random, 0, this.#interval);
  }

  /** A stream is live. */
  stop() {
    this.due = Infinity;
  }

  polled(now) {
    this.due = now + this.#interval * uniform(this.#random, 0.9, 1.1);
  }

  /** Bring the next poll forward: the machine slept or its network changed. */
  hasten(now) {
    if (this.on) this.due = Math.min(this.due, now + uniform(this.#random, 0, 1));
  }
}
