// Carries out what a state machine answers: requests and one timer. `machine` is a Subscription or a Connection.

import { later } from "./timers.js";

/** Seconds that do not jump when somebody sets the clock. */
export function monotonic() {
  return performance.now() / 1000;
}

export class Driver {
  #machine;
  #open;
  #load;
  #tell;
  #streams = new Map();
  #timer;
  #stopped = false;
  #heard = -Infinity;
  #aborter = new AbortController();

  /**
   * `open(lastEventId, listener)` opens a stream and returns what closes it; `load(version, signal)` returns a promise of
   * the document; `tell(action)` gets every action, "keep" with its `answer`, and "fetched" after each fetch.
   */
  constructor(machine, { open, load, tell }) {
    this.#machine = machine;
    this.#open = open;
    this.#load = load;
    this.#tell = tell;
  }

  start(...steps) {
    for (const step of steps) this.#carryOut(this.#machine[step](monotonic()));
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const stream of this.#streams.values()) stream.close();
    this.#streams.clear();
    this.#aborter.abort();
  }

  /** Seconds since any stream said anything. */
  get silence() {
    return monotonic() - this.#heard;
  }

  woke() {
    this.#carryOut(this.#machine.woke(monotonic()));
  }

  #carryOut(actions) {
    for (const action of actions) {
      if (this.#stopped) return; // by somebody who was told
      if (action.do === "open") this.#begin(action);
      if (action.do === "close") this.#leave(action.stream);
      if (action.do === "fetch") this.#fetch(action.version);
      this.#tell(action);
    }
    this.#plan();
  }

  #begin({ stream, lastEventId }) {
    const machine = this.#machine;
    const take = (step) => {
      if (!this.#stopped) this.#carryOut(step(monotonic()));
    };
    const listener = {
      opened: (status, headers) => take((now) => machine.opened(stream, status, headers, now)),
      received: (bytes) => take((now) => machine.received(stream, bytes, (this.#heard = now))),
      ended: () => take((now) => (this.#streams.delete(stream), machine.ended(stream, now))),
      failed: (reason) => take((now) => (this.#streams.delete(stream), machine.failed(stream, reason, now))),
    };
    this.#streams.set(stream, this.#open(lastEventId, listener));
  }

  #leave(stream) {
    this.#streams.get(stream)?.close();
    this.#streams.delete(stream);
  }

  async #fetch(asked) {
    const began = monotonic();
    let answer;
    let fault = null;
    try {
      answer = await this.#load(asked, this.#aborter.signal);
    } catch (error) {
      fault = error;
    }
    if (this.#stopped) return;
    const now = monotonic();
    const seconds = now - began;
    if (fault) {
      this.#tell({ do: "fetched", outcome: "failed", seconds, version: 0, reason: fault.message, error: fault });
      this.#carryOut(this.#machine.fetchFailed(now, fault.retryAfter));
      return;
    }
    const actions = this.#machine.fetched(answer, now);
    const keep = actions.find((action) => action.do === "keep");
    if (keep) keep.answer = answer;
    const outcome = keep ? (answer.flags ? "new" : "unchanged") : "older";
    this.#tell({ do: "fetched", outcome, seconds, version: answer.version, reason: "" });
    this.#carryOut(actions);
  }

  #plan() {
    clearTimeout(this.#timer);
    const { deadline } = this.#machine;
    if (this.#stopped || deadline === Infinity) return;
    // A timer may fire a little early; without the maximum the machine would answer "not yet" in a loop.
    const fire = () => this.#carryOut(this.#machine.tick(Math.max(monotonic(), Math.min(deadline, monotonic() + 0.1))));
    this.#timer = later(Math.max(0, deadline - monotonic()), fire);
  }
}
