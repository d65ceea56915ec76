// One environment, followed: the state machine without I/O that joins the connection, the refetch and the polling.
// To the connection's actions it adds {do: "announced", stream, version}, {do: "fetch", version}, {do: "keep", behind} and
// {do: "became", status}; `deadline` is when the shell has to call `tick` next. All times are in seconds.

import { Connection } from "./connection.js";
import { Polling } from "./polling.js";
import { Refetch } from "./refetch.js";
import { eventVersion } from "./versions.js";

const EVENT = "environment_updated";
const GRACE = 5; // seconds for which flags may be behind, or without a stream, before that is a status of its own

/** The version that an item of a stream announces, null where it announces none; throws where it is no version. */
export function announcement(item) {
  return item.kind === "event" && item.type === EVENT ? eventVersion(item.data) : null;
}

export class Subscription {
  status = "starting";
  invalid = 0; // events that made no sense
  #polls;
  #polled = false; // the last poll was answered
  #grace;
  #inDoubtSince;
  #behindSince = null;

  /** `polls`: there are to be polls and no streams; `held`, `loaded`: of the flags that are there already. */
  constructor({ random = Math.random, heartbeat = 15, openTimeout = 10, spread = 0, pollInterval = 60, polls = false,
                backoff, now = 0, held = 0, loaded = false } = {}) {
    this.connection = new Connection({ random, heartbeat, openTimeout, backoff });
    this.refetch = new Refetch({ random, spread, backoff, now, held, loaded });
    this.polling = new Polling(random, pollInterval);
    this.#polls = polls;
    this.#grace = GRACE + spread;
    this.#inDoubtSince = now;
  }

  /** Whether a stream is live and the flags are as new as it has told of. */
  get isCurrent() {
    return this.connection.live && this.refetch.isMet;
  }

  get deadline() {
    return Math.min(this.connection.deadline, this.polling.due, this.refetch.due, this.#doubtfulAt());
  }

  /** Begin with the first fetch. */
  start(now) {
    if (this.#polls) this.polling.start(now);
    return this.#then([], now);
  }

  /** Begin with the streams. */
  follow(now) {
    return this.#then(this.connection.start(now), now);
  }

  opened(stream, status, headers, now) {
    return this.#then(this.connection.opened(stream, status, headers, now), now);
  }

  received(stream, bytes, now) {
    return this.#then(this.connection.received(stream, bytes, now), now);
  }

  ended(stream, now) {
    return this.#then(this.connection.ended(stream, now), now);
  }

  failed(stream, reason, now) {
    return this.#then(this.connection.failed(stream, reason, now), now);
  }

  /** Take {version, labelled, stale}, which the fetch brought. */
  fetched(answer, now) {
    this.#polled = this.polling.on;
    const behind = this.#behindSince === null ? 0 : now - this.#behindSince;
    const keep = this.refetch.finished(answer, now) ? [{ do: "keep", behind }] : [];
    return [...keep, ...this.#then([], now)];
  }

  /** Take that the fetch brought nothing; `retryAfter` is the server's wish. */
  fetchFailed(now, retryAfter = 0) {
    this.#polled = false;
    this.refetch.failed(now, retryAfter);
    return this.#then([], now);
  }

  /** Take that the machine slept or its network changed. */
  woke(now) {
    this.polling.hasten(now);
    return this.#then(this.connection.woke(now), now);
  }

  tick(now) {
    if (now >= this.polling.due) {
      this.polling.polled(now);
      this.refetch.poll(now);
    }
    return this.#then(this.connection.tick(now), now);
  }

  /** Carry on what the connection answered, and look what follows from it. */
  #then(streamActions, now) {
    const actions = [];
    for (const action of streamActions) {
      if (action.do === "received") {
        this.#announced(action, now, actions);
        continue;
      }
      if (action.do === "live") {
        this.polling.stop();
        this.#polled = false;
        this.refetch.connected(now);
      } else if (action.do === "ended" && !this.connection.live) {
        this.polling.failed(action.failures, now);
      }
      actions.push(action);
    }
    if (now >= this.refetch.due) actions.push({ do: "fetch", version: this.refetch.begin(now) });
    this.#look(now, actions);
    return actions;
  }

  #announced({ stream, item }, now, actions) {
    try {
      const version = announcement(item);
      if (version === null) return;
      this.refetch.announce(version, now);
      actions.push({ do: "announced", stream, version });
    } catch {
      this.invalid += 1; // one bad event must not end a stream that goes on well
    }
  }

  /** Work out how fresh the flags are, and say so where that is another status. */
  #look(now, actions) {
    if (this.refetch.isMet) this.#behindSince = null;
    else this.#behindSince ??= now;
    if (this.isCurrent) this.#inDoubtSince = null;
    else if (this.#inDoubtSince === null || this.status === "starting") this.#inDoubtSince = now;
    const status = this.#statusAt(now);
    if (status === this.status) return;
    this.status = status;
    actions.push({ do: "became", status });
  }

  #statusAt(now) {
    if (!this.refetch.loaded) return "starting";
    if (this.#inDoubtSince === null) return "current";
    if (this.#polls || now >= this.#inDoubtSince + this.#grace) {
      return this.#polled && this.refetch.isMet ? "polling" : "stale";
    }
    return this.status === "starting" ? "current" : this.status;
  }

  /** When a short gap becomes a status. */
  #doubtfulAt() {
    if (this.#inDoubtSince === null || this.#polls || this.status !== "current") return Infinity;
    return this.#inDoubtSince + this.#grace;
  }
}
