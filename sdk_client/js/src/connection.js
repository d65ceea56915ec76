// The connection to an event stream as a state machine without I/O: one stream is kept live for ever, and towards its
// end the next one is opened beside it. A shell tells what happened and when; the answers are actions: {do: "open",
// stream, lastEventId}, {do: "live", stream, seconds}, {do: "received", stream, item}, {do: "close", stream} and
// {do: "ended", stream, end, wait, failures}. `deadline` is when the shell has to call `tick` next, in seconds.

import { Decoder, StreamLimitError } from "./decoder.js";
import { isEventStream, remainingJoinWindow, remainingLifetime, retryAfter } from "./headers.js";
import { End, LIVED, Reconnect, uniform } from "./reconnect.js";

const HEARTBEATS_MISSED = 3;
const OVERDUE = 5; // seconds beyond its announced lifetime after which a stream is given up
const WORTH_REPLACING = 3; // seconds that a stream must have left to be overlapped
const MARGIN = 1; // seconds before its end, at most, until which the next stream is to be opened
const AGE_TICK = 1; // Age is whole seconds
const WAKE_INTERVAL = 10; // seconds: a network that comes and goes wakes a client no more often

class Stream {
  #left;
  #joined;
  #leaveBy;
  #silence;
  #heard;

  constructor(number, headers, { now, heartbeat, lastEventId }) {
    this.number = number;
    this.opened = this.#heard = now;
    this.decoder = new Decoder({ lastEventId });
    const left = remainingLifetime(headers);
    this.#left = left ?? 0;
    this.#joined = remainingJoinWindow(headers) ?? 0;
    this.#leaveBy = left === null ? Infinity : now + left + OVERDUE;
    this.#silence = HEARTBEATS_MISSED * heartbeat;
  }

  get deadline() {
    return Math.min(this.#heard + this.#silence, this.#leaveBy);
  }

  hear(now) {
    this.#heard = now;
  }

  leaveBy(moment) {
    this.#leaveBy = Math.min(this.#leaveBy, moment);
  }

  /** Rule 6. Not while an edge still adds clients to this stream: it would hand out the same one again. */
  replaceAt(random) {
    if (this.#left < WORTH_REPLACING) return Infinity;
    const latest = this.#left - AGE_TICK - Math.min(MARGIN, this.#left / 10);
    const joined = this.#joined + AGE_TICK;
    return this.opened + uniform(random, Math.max(LIVED, Math.min(joined, latest)), latest);
  }
}

function refusal(status, headers) {
  if (status !== 200) return new End("refused", `the server answered ${status}`, { retryAfter: retryAfter(headers) });
  if (isEventStream(headers)) return null;
  const type = headers.get("content-type") || "no content type";
  return new End("refused", `the server answered with ${type}, not an event stream`);
}

export class Connection {
  #random;
  #heartbeat;
  #openTimeout;
  #reconnect;
  #number = 0;
  #live = null;
  #opening = null;
  #openAt = Infinity;
  #openedAt = -Infinity;
  #notBefore = -Infinity;
  #woken = -Infinity;
  #lastEventId = "";

  constructor({ random = Math.random, heartbeat = 15, openTimeout = 10, backoff } = {}) {
    this.#random = random;
    this.#heartbeat = heartbeat;
    this.#openTimeout = openTimeout;
    this.#reconnect = new Reconnect(random, backoff);
  }

  get live() {
    return this.#live !== null;
  }

  /** Errors in a row. */
  get failures() {
    return this.#reconnect.failures;
  }

  get deadline() {
    return Math.min(this.#live?.deadline ?? Infinity, this.#opening?.deadline ?? Infinity, this.#openAt);
  }

  /** When the next stream is opened, Infinity where that is not known. */
  get openAt() {
    return this.#openAt;
  }

  start(now) {
    return this.#open(now);
  }

  /** Take the head of a response. */
  opened(stream, status, headers, now) {
    const opening = this.#opening;
    if (opening?.number !== stream) return [{ do: "close", stream }];
    this.#opening = null;
    const end = refusal(status, headers);
    if (end) return [{ do: "close", stream }, this.#failed(stream, end, now)];
    const before = this.#live;
    this.#live = new Stream(stream, headers, { now, heartbeat: this.#heartbeat, lastEventId: this.#id() });
    this.#openAt = this.#live.replaceAt(this.#random);
    const actions = [{ do: "live", stream, seconds: now - opening.since }];
    if (before) {
      this.#reconnect.worked();
      const end = new End("replaced", "the next stream is live", { lived: now - before.opened });
      actions.push({ do: "close", stream: before.number });
      actions.push({ do: "ended", stream: before.number, end, wait: null, failures: 0 });
    }
    return actions;
  }

  /** Take bytes of the body. */
  received(stream, bytes, now) {
    const live = this.#live;
    if (live?.number !== stream) return [];
    const actions = [];
    try {
      for (const item of live.decoder.feed(bytes)) {
        live.hear(now); // bytes that never become a comment or an event may come for ever
        if (item.kind === "retry") this.#reconnect.advise(item.milliseconds / 1000);
        actions.push({ do: "received", stream, item });
      }
    } catch (error) {
      if (!(error instanceof StreamLimitError)) throw error;
      const end = new End("limit", error.message, { lived: now - live.opened });
      actions.push({ do: "close", stream }, this.#over(live, end, now));
    }
    return actions;
  }

  /** Take the clean end of the body. */
  ended(stream, now) {
    const live = this.#live;
    if (live?.number !== stream) return this.failed(stream, "the answer had no head", now);
    return [this.#over(live, End.clean(now - live.opened), now)];
  }

  /** Take a connection that was refused, reset, cut or broke the protocol. */
  failed(stream, reason, now) {
    if (this.#opening?.number === stream) {
      this.#opening = null;
      return [this.#failed(stream, new End("unreachable", reason), now)];
    }
    const live = this.#live;
    if (live?.number !== stream) return [];
    return [this.#over(live, new End("cut", reason, { lived: now - live.opened }), now)];
  }

  /** Take the time; does nothing before `deadline`. */
  tick(now) {
    const actions = [];
    const opening = this.#opening;
    const live = this.#live;
    if (opening && now >= opening.deadline) {
      this.#opening = null;
      const end = new End("unanswered", "the server did not answer in time");
      actions.push({ do: "close", stream: opening.number }, this.#failed(opening.number, end, now));
    }
    if (live && now >= live.deadline) {
      const end = new End("silent", "the stream fell silent", { lived: now - live.opened });
      actions.push({ do: "close", stream: live.number }, this.#over(live, end, now));
    }
    if (now >= this.#openAt) actions.push(...this.#open(now));
    return actions;
  }

  /** Take that the machine slept or its network changed: the stream there is may be dead without knowing. */
  woke(now) {
    if (now < this.#woken + WAKE_INTERVAL) return [];
    this.#woken = now;
    this.#reconnect.worked(); // what failed before is another matter
    this.#live?.leaveBy(now + WAKE_INTERVAL);
    if (this.#live || this.#openAt < Infinity) {
      const soon = Math.max(now + uniform(this.#random, 0, 1), this.#openedAt + this.#reconnect.least);
      this.#openAt = Math.min(this.#openAt, soon);
    }
    return [];
  }

  #open(now) {
    this.#openAt = Infinity;
    if (this.#opening) return [];
    this.#number += 1;
    this.#openedAt = now;
    this.#notBefore = now + this.#reconnect.least;
    this.#opening = { number: this.#number, since: now, deadline: now + this.#openTimeout };
    return [{ do: "open", stream: this.#number, lastEventId: this.#id() }];
  }

  /** The id with which a stream is asked for, empty where the server sent none. */
  #id() {
    return this.#live?.decoder.lastEventId ?? this.#lastEventId;
  }

  /** Plan the next try after one that never became a stream; a stream that is live goes on meanwhile. */
  #failed(stream, end, now) {
    const wait = this.#reconnect.after(end);
    this.#notBefore = this.#openAt = now + wait;
    return { do: "ended", stream, end, wait, failures: this.failures };
  }

  /** Plan what follows the live stream, unless that is on its way already. */
  #over(live, end, now) {
    this.#lastEventId = this.#id();
    this.#live = null;
    const at = Math.max(now + this.#reconnect.after(end), this.#notBefore);
    if (this.#opening) return { do: "ended", stream: live.number, end, wait: null, failures: this.failures };
    this.#notBefore = this.#openAt = at;
    return { do: "ended", stream: live.number, end, wait: at - now, failures: this.failures };
  }
}
