// Which environments are listened to. Browsers allow six connections to a host over HTTP/1.1, and streams need some
// for their rotation: so four at most, first those that were asked for, then those in view.

import { now } from "./clock.js";
import { Stream } from "./stream.js";

const MOST = 4;
const HIDDEN_FOR = 30_000; // then the streams are closed until somebody looks again

const WORDS = { off: "Not live", connecting: "Connecting…", live: "Live", waiting: "Reconnecting" };

export class Listening {
  #environments;
  #streams = new Map();
  #asked = [];
  #inView = new Set();
  #hidden = null;
  #paused = false;
  #onState;

  /** `environments`: Map of key to {key, name, head}; `onEvent(key, event)`; `onState(summary)`. */
  constructor(environments, streamUrl, onEvent, onState) {
    this.#environments = environments;
    this.#onState = onState;
    for (const { key, head } of environments.values()) {
      const stream = new Stream(streamUrl, key, { onEvent: (event) => onEvent(key, event), onState: () => this.#show(key) });
      this.#streams.set(key, stream);
      const button = head.querySelector("[data-live-state]");
      button.addEventListener("click", () => this.#ask(key));
    }
  }

  start() {
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#inView.add(target.dataset.environment);
        else this.#inView.delete(target.dataset.environment);
      }
      this.#arrange();
    });
    for (const { key, head } of this.#environments.values()) {
      observer.observe(head);
      this.#show(key);
    }
    document.addEventListener("visibilitychange", () => this.#visible(!document.hidden));
    setInterval(() => this.#tick(), 1000);
    this.#arrange();
  }

  isLive(key) {
    return this.#streams.get(key).state === "live";
  }

  #ask(key) {
    const stream = this.#streams.get(key);
    if (stream.state === "waiting") return stream.open();
    if (stream.state !== "off") return;
    this.#asked = [key, ...this.#asked.filter((each) => each !== key)].slice(0, MOST);
    this.#arrange();
  }

  #wanted() {
    if (this.#paused) return new Set();
    const keys = [...this.#environments.keys()];
    const running = keys.filter((key) => this.#inView.has(key) && this.#streams.get(key).state !== "off");
    const inView = keys.filter((key) => this.#inView.has(key));
    return new Set([...new Set([...this.#asked, ...running, ...inView, ...keys])].slice(0, MOST));
  }

  #arrange() {
    const wanted = this.#wanted();
    for (const [key, stream] of this.#streams) if (!wanted.has(key) && stream.state !== "off") stream.close();
    for (const key of wanted) if (this.#streams.get(key).state === "off") this.#streams.get(key).open();
    this.#summarise();
  }

  #visible(visible) {
    clearTimeout(this.#hidden);
    if (visible) {
      this.#paused = false;
      this.#arrange();
    } else {
      this.#hidden = setTimeout(() => {
        this.#paused = true;
        this.#arrange();
      }, HIDDEN_FOR);
    }
  }

  #tick() {
    for (const [key, stream] of this.#streams) if (stream.state === "waiting") this.#show(key);
  }

  #show(key) {
    const stream = this.#streams.get(key);
    const { name, head } = this.#environments.get(key);
    const button = head.querySelector("[data-live-state]");
    let words = WORDS[stream.state];
    if (stream.state === "waiting") words = `Reconnecting in ${Math.max(1, Math.ceil((stream.retryAt - now()) / 1000))} s`;
    if (button.textContent !== words) button.textContent = words;
    button.dataset.state = stream.state;
    button.disabled = stream.state === "live" || stream.state === "connecting"; // nothing to press then
    button.title = { off: `Listen to ${name} now`, waiting: "Try now", live: "Changes appear as they happen", connecting: "" }[stream.state];
    this.#summarise();
  }

  #summarise() {
    const states = [...this.#streams.values()].map((stream) => stream.state);
    const count = (state) => states.filter((each) => each === state).length;
    const live = count("live");
    const total = states.length;
    if (!total) this.#onState("No environment to listen to yet.", true);
    else if (this.#paused) this.#onState("Paused while nobody looked.", true);
    else if (count("waiting")) {
      const rest = live ? `${live} still live. ` : "";
      this.#onState(`The stream server does not answer. ${rest}Trying again by itself.`, false);
    } else if (count("connecting") && !live) this.#onState("Connecting…", true);
    else if (live === total) this.#onState(total === 1 ? "Listening." : `Listening to ${total} environments.`, true);
    else this.#onState(`Listening to ${live} of ${total} environments. Press “Not live” to swap.`, true);
  }
}
