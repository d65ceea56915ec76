// When to fetch the flags, as a state machine without I/O: one flight at a time, and never deaf. `due` is the moment
// at which the next fetch begins, in seconds, Infinity while none is needed. Rules 13 to 18.

import { Backoff, uniform } from "./reconnect.js";

const SETTLE = 0.05; // seconds after a stream went live during which its events are a replay
const GAP = 0.2; // seconds between the beginnings of two fetches, at least
const OLDER = [1, 2, 4]; // seconds at most, half of it at least, until a document older than announced is fetched again
const PATIENCE = 60; // seconds, more or less, between further tries for a version that is announced and not served
const SHORT = 1; // seconds that may be waited after a failure, however short the outage was so far

export class Refetch {
  wanted = 0;
  held = 0;
  failures = 0;
  loaded = false;
  #random;
  #spread;
  #backoff;
  #settled;
  #asked = null;
  #older = 0;
  #failingSince;
  #forbidden = -Infinity;

  /** `held`: the version of flags that are there already, 0 for none; `loaded`: from the server, by way of another tab. */
  constructor({ random = Math.random, spread = 0, backoff, now = 0, held = 0, loaded = false } = {}) {
    this.held = held;
    this.loaded = loaded;
    this.#random = random;
    this.#spread = spread;
    this.#backoff = backoff ?? new Backoff({ base: 0.5, least: 0 });
    this.due = this.#settled = this.#failingSince = now;
  }

  /** Whether the flags held are as new as the newest announcement. */
  get isMet() {
    return this.loaded && this.held >= this.wanted;
  }

  get inFlight() {
    return this.#asked !== null;
  }

  /** Take that a stream went live: a fetch that waits out a failure may come sooner, if not sooner than asked for. */
  connected(now) {
    this.#settled = Math.max(this.#settled, now + SETTLE);
    if (this.due === Infinity || !this.failures) return;
    this.due = Math.min(this.due, Math.max(this.#soon(now), this.#forbidden));
  }

  /** Ask for a fetch although nothing was announced, unless there is one already or a failure is waited out. */
  poll(now) {
    if (this.due === Infinity && !this.inFlight) this.due = now;
  }

  /** Take the version of an event; old ones and repetitions change nothing. */
  announce(version, now) {
    if (version <= Math.max(this.wanted, this.held)) return;
    this.wanted = version;
    this.#older = 0;
    if (!this.inFlight && !this.failures) this.due = Math.min(this.due, this.#soon(now));
  }

  /** Begin the one flight; return the version to ask for, 0 where none is known. */
  begin(now) {
    this.due = Infinity;
    this.#settled = Math.max(this.#settled, now + GAP);
    this.#asked = this.wanted;
    return this.#asked;
  }

  /** Take {version, labelled, stale}; return whether to keep the document: not if it is older than the one held. */
  finished({ version, labelled, stale }, now) {
    const asked = this.#asked ?? 0;
    this.#asked = null;
    const is = labelled ? version : Math.max(version || this.held, asked); // rule 17
    const take = is >= this.held;
    this.loaded = true;
    this.held = Math.max(this.held, is);
    if (stale && !this.isMet) {
      this.#fail(now, 0); // it says itself that it will recover, so it is asked until it has
      return take;
    }
    this.failures = 0;
    if (this.isMet) this.#older = 0;
    else if (this.wanted > asked) this.due = this.#soon(now);
    else this.due = now + this.#patience();
    return take;
  }

  /** Take that the flight brought nothing; it is tried again for ever, ever more slowly up to the cap. */
  failed(now, retryAfter = 0) {
    this.#asked = null;
    this.#fail(now, retryAfter);
  }

  /** Seconds until the document that was older than announced is fetched again. */
  #patience() {
    if (this.#older === OLDER.length) return PATIENCE * uniform(this.#random, 0.9, 1.1);
    const longest = OLDER[this.#older++];
    return uniform(this.#random, longest / 2, longest);
  }

  #fail(now, floor) {
    if (!this.failures) this.#failingSince = now;
    this.failures += 1;
    this.#forbidden = now + floor;
    const lasted = Math.max(SHORT, now - this.#failingSince);
    this.due = now + this.#backoff.delay(this.failures, this.#random, { floor, most: lasted });
  }

  #soon(now) {
    return Math.max(now, this.#settled) + uniform(this.#random, 0, this.#spread);
  }
}
