// The server's clock against this one: several questions, and the quickest answer counts (as in RFC 5905, section 10).

import { call, path } from "./api.js";

const PROBES = 6;
const EVERY = 60_000;

/** Milliseconds since the epoch that do not jump when somebody sets the clock. */
export function now() {
  return performance.timeOrigin + performance.now();
}

export class ServerClock {
  offset = null; // milliseconds to add to ours
  error = null; // milliseconds that the offset can be wrong by

  start(onChange) {
    const probe = async () => {
      if (!document.hidden && (await this.probe())) onChange(this);
    };
    probe();
    setInterval(probe, EVERY);
  }

  async probe() {
    let best = null;
    for (let i = 0; i < PROBES; i++) {
      try {
        const sent = now();
        const answer = await call("GET", path("time"));
        const received = now();
        const error = (received - sent) / 2;
        if (!best || error < best.error) best = { error, offset: answer.now / 1000 - (sent + received) / 2 };
      } catch {
        return false;
      }
    }
    Object.assign(this, best);
    return true;
  }

  /** How long ago a time of the server's was, null while unknown. */
  since(seconds, at) {
    return this.offset === null ? null : at + this.offset - seconds * 1000;
  }
}
