// The tabs of one origin that follow the same flags: one of them, which holds a lock of the browser's, leads; it alone
// has a stream and fetches, and tells the others over a channel. A lock whose tab closes or crashes is granted to
// the next one at once. Where the browser has no locks or channels (or the page is not secure), each tab leads itself.

import { later } from "./timers.js";

const SILENCE = 45; // seconds without a word of the leader after which a visible tab takes over: it hangs
const SILENCE_HIDDEN = 200; // hidden tabs hear late, for their leader's timers run once a minute
const ANSWER = 5; // seconds in which a leader answers a visible tab
const RELIEF = 5; // to twice as many seconds: whoever flips through tabs opens no stream with each
const HESITATE = 0.1; // seconds, at random, so that of several visible tabs one takes over

export class Tabs {
  #name;
  #part;
  #locks;
  #channel = null;
  #leading = false;
  #release = null;
  #queued = null;
  #heard = 0;
  #asking = false;
  #relieveAfter;
  #taking;

  /** `part`: {lead(), follow(), hear(message), hidden, resting}; `shared` is whether other tabs are to be looked for. */
  constructor(name, part, { shared, relieveAfter = RELIEF * (1 + Math.random()) }) {
    this.#name = name;
    this.#part = part;
    this.#relieveAfter = relieveAfter;
    const { navigator, BroadcastChannel } = globalThis;
    this.#locks = shared && BroadcastChannel && navigator?.locks ? navigator.locks : null;
  }

  get leading() {
    return this.#leading;
  }

  start() {
    if (!this.#locks) {
      this.#leading = true;
      this.#part.lead();
      return;
    }
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#request();
    this.ask();
  }

  stop() {
    this.#forget();
    this.#leading = false;
    this.#queued?.abort();
    this.#release?.();
    this.#queued = this.#release = null;
    this.#channel?.close();
    this.#channel = null;
  }

  /** Tell the other tabs; whoever leads says whether anybody sees it. */
  post(message) {
    const { hidden, resting } = this.#part;
    this.#channel?.postMessage({ ...message, leads: this.#leading, hidden, resting });
  }

  /** Ask who leads; a visible tab that gets no answer takes over. */
  ask() {
    if (this.#leading) return;
    this.#heard = performance.now();
    this.#asking = true;
    this.#takeSoon(ANSWER);
    this.post({ kind: "hello" });
  }

  /** Look, every few seconds, whether the leader is still there. */
  pulse() {
    if (!this.#channel || this.#leading) return;
    const silence = this.#part.hidden ? SILENCE_HIDDEN : SILENCE;
    if (performance.now() - this.#heard > silence * 1000) this.#request({ steal: true });
  }

  #hear(message) {
    if (typeof message?.leads !== "boolean") return; // not ours
    if (message.leads) {
      if (this.#leading) return; // the last words of one that was relieved
      this.#heard = performance.now();
      this.#relieve(message);
    }
    this.#part.hear(message);
  }

  /** Browsers slow the timers of hidden tabs down, after minutes to one a minute: too late for those who look. */
  #relieve({ hidden, resting }) {
    if (this.#asking || !hidden || resting) this.#forget();
    if (!hidden || this.#part.hidden) return;
    this.#takeSoon(HESITATE * Math.random() + (resting ? 0 : this.#relieveAfter));
  }

  #forget() {
    clearTimeout(this.#taking);
    this.#taking = undefined;
    this.#asking = false;
  }

  #takeSoon(seconds) {
    this.#taking ??= later(seconds, () => {
      this.#taking = undefined;
      if (this.#channel && !this.#leading && !this.#part.hidden) this.#request({ steal: true });
    });
  }

  #request(how) {
    this.#queued?.abort(); // else this tab would be granted the lock once more, later
    const queued = (this.#queued = new AbortController());
    const granted = () => {
      if (queued.signal.aborted || !this.#channel) return undefined;
      this.#forget();
      this.#leading = true;
      const held = new Promise((resolve) => (this.#release = resolve));
      this.#part.lead();
      return held;
    };
    const options = how ?? { signal: queued.signal };
    this.#heard = performance.now();
    this.#locks.request(this.#name, options, granted).catch((error) => {
      if (queued.signal.aborted || !this.#channel) return;
      if (error.name !== "AbortError") {
        this.#alone(); // the browser offers locks and does not give any, as in some private windows
        return;
      }
      this.#leading = false; // another tab took the lock
      this.#release = null;
      this.#part.follow();
      this.#request();
      this.ask();
    });
  }

  #alone() {
    this.stop();
    this.#locks = null;
    this.start();
  }
}
