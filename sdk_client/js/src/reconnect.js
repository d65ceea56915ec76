// When to open the next stream: the rules that keep a client from being deaf and from being a storm. Times are in
// seconds, `random` is a function like Math.random. Rules are numbered as in docs/client-rules.md.

const CLEAN_WAIT = 2; // rule 8
const PROVEN = 10; // rule 10
const MAX_RETRY = 60; // rule 9: one wrong value must not silence a client for a day
export const LIVED = 1; // rule 8: a clean end after less is an error, which breaks any loop

export function uniform(random, from, to) {
  return from + (to - from) * random();
}

/** Exponential back-off with full jitter: `base` and `cap` bound the random part, `least` is added. */
export class Backoff {
  constructor({ base = 1, cap = 30, least = 1 } = {}) {
    Object.assign(this, { base, cap, least });
  }

  // Added, not the largest of them: below the floor every client of a failed server would come back at once. `most`
  // bounds the random part further.
  delay(failures, random, { floor = 0, most = Infinity } = {}) {
    const longest = Math.min(this.cap, most, this.base * 2 ** Math.min(failures - 1, 30));
    return Math.max(floor, this.least) + uniform(random, 0, longest);
  }
}

/**
 * How a stream ended. `kind`: replaced, ended, short, refused, unreachable, unanswered, cut, silent or limit; `lived`
 * is in seconds since its headers came.
 */
export class End {
  constructor(kind, reason, { lived = 0, retryAfter = 0 } = {}) {
    Object.assign(this, { kind, reason, lived, retryAfter });
  }

  static clean(lived) {
    if (lived < LIVED) return new End("short", `the stream ended after ${lived.toFixed(2)} s`, { lived });
    return new End("ended", "the stream ended", { lived });
  }

  get isError() {
    return this.kind !== "ended" && this.kind !== "replaced";
  }
}

/** Counts failures and says how long to wait. */
export class Reconnect {
  failures = 0;
  #random;
  #backoff;
  #retry = 0;

  constructor(random, backoff = new Backoff()) {
    this.#random = random;
    this.#backoff = backoff;
  }

  /** Seconds between two openings at least. */
  get least() {
    return this.#backoff.least;
  }

  /** Take the server's `retry:`; it holds until another one comes, over all streams. */
  advise(seconds) {
    this.#retry = Math.min(seconds, MAX_RETRY);
  }

  worked() {
    this.failures = 0;
  }

  /** Count `end`; return the seconds until the next stream may be opened. */
  after(end) {
    if (!end.isError) {
      this.worked();
      return uniform(this.#random, 0, CLEAN_WAIT);
    }
    this.failures = end.lived >= PROVEN ? 1 : this.failures + 1;
    return this.#backoff.delay(this.failures, this.#random, { floor: Math.max(this.#retry, end.retryAfter) });
  }
}
