// From a click to the push that carries it. An event may arrive before the answer to the request that caused it,
// so arrivals are kept for a while and matched from both sides.

const KEPT = 50;
const WINDOW = 200;

export class Clicks {
  #open = new Set();
  #arrivals = new Map();

  /** A change of this tab, made at `at` (performance.now()); `confirm` or `drop` it later. */
  begin(key, at) {
    const click = { key, at, version: null, latency: null };
    click.known = new Promise((resolve) => (click.resolve = resolve));
    this.#open.add(click);
    return click;
  }

  confirm(click, version) {
    click.version = version;
    const arrival = (this.#arrivals.get(click.key) ?? []).find((each) => each.version >= version);
    if (arrival) this.#settle(click, arrival.at);
    click.resolve();
  }

  drop(click) {
    this.#open.delete(click);
    click.resolve();
  }

  /** A push arrived: return the clicks that it may carry. */
  arrived(key, version, at) {
    const arrivals = this.#arrivals.get(key) ?? [];
    arrivals.push({ version, at });
    this.#arrivals.set(key, arrivals.slice(-KEPT));
    const mine = [...this.#open].filter((click) => click.key === key);
    for (const click of mine) if (click.version !== null && click.version <= version) this.#settle(click, at);
    return mine;
  }

  #settle(click, at) {
    click.latency = at - click.at;
    this.#open.delete(click);
  }
}

/** The last pushes' latencies in milliseconds. */
export class Figures {
  #last = [];

  add(latency) {
    this.#last.push(latency);
    if (this.#last.length > WINDOW) this.#last.shift();
  }

  get count() {
    return this.#last.length;
  }

  /** The nearest-rank quantile, null when there is nothing. */
  quantile(share) {
    if (!this.#last.length) return null;
    const sorted = [...this.#last].sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  }
}

/** [number, unit] with the digits that mean something. */
export function inWords(milliseconds) {
  const value = Math.max(0, milliseconds);
  if (value < 100) return [value.toFixed(1), "ms"];
  if (value < 1000) return [value.toFixed(0), "ms"];
  return [(value / 1000).toFixed(value < 10_000 ? 2 : 1), "s"];
}
