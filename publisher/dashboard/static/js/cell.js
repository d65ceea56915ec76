// A feature in one environment. What a person wishes shows at once; what the server says wins.
//
// `state` is what the server last said, `wish` what was asked for since. One request is under way at a time and carries
// the version it builds on, so clicks in quick succession become as few requests as they need, in their order, and
// nobody's change is overwritten unseen.

import { all, call, path, signInAddress } from "./api.js";
import { speak } from "./speak.js";
import { kindOf, same, shown } from "./values.js";

export class Cell {
  wish = {};
  #flight = false;
  #later = null;
  #clicks = [];
  #undone = null; // a wish that failed, while the note about it stands
  #page;

  /** `page`: {clicks, editor, recover(key)}. */
  constructor(element, environment, feature, state, page) {
    Object.assign(this, { element, environment, feature, state });
    this.#page = page;
    this.switch = element.querySelector(".switch");
    this.value = element.querySelector(".value");
    this.switch.addEventListener("click", () => this.change({ enabled: !this.shown.enabled }));
    this.value.addEventListener("click", () => page.editor.open(this));
  }

  get title() {
    return `${this.feature} in ${this.environment.name}`;
  }

  get shown() {
    return { ...this.state, ...this.wish };
  }

  /** Ask for `enabled`, `value` or both. */
  change(part) {
    Object.assign(this.wish, part);
    this.#clicks.push(this.#page.clicks.begin(this.environment.key, performance.now()));
    this.note(null);
    this.render();
    this.#send();
  }

  /** The server's newest word on this cell; returns whether it shows something new. */
  receive(state) {
    if (this.#flight) {
      if (!this.#later || state.updated_at > this.#later.updated_at) this.#later = state;
      return false;
    }
    if (state.updated_at <= this.state.updated_at) return false;
    if (this.#undone && Object.entries(this.#undone).every(([name, value]) => same(value, state[name]))) this.note(null);
    const differs = state.enabled !== this.state.enabled || !same(state.value, this.state.value);
    this.state = state;
    this.render();
    if (differs) this.#flash();
    this.#page.editor.changedBelow(this);
    return differs;
  }

  #pending() {
    const part = {};
    if ("enabled" in this.wish && this.wish.enabled !== this.state.enabled) part.enabled = this.wish.enabled;
    if ("value" in this.wish && !same(this.wish.value, this.state.value)) part.value = this.wish.value;
    return Object.keys(part).length ? part : null;
  }

  async #send() {
    if (this.#flight) return;
    this.#flight = true;
    let failure = null;
    try {
      for (let part; (part = this.#pending()); ) {
        const clicks = this.#clicks;
        this.#clicks = [];
        try {
          await this.#request(part, clicks);
        } catch (refusal) {
          for (const click of clicks) this.#page.clicks.drop(click);
          throw refusal;
        }
      }
    } catch (refusal) {
      failure = refusal;
    }
    // Clicks that cancelled each other out are carried by no push.
    for (const click of this.#clicks) this.#page.clicks.drop(click);
    this.#clicks = [];
    const wish = this.wish;
    this.wish = {};
    this.#flight = false;
    this.element.removeAttribute("data-saving");
    this.render();
    const later = this.#later;
    this.#later = null;
    if (later) this.receive(later);
    if (failure) await this.#refused(failure, wish);
    else speak(`${this.title}: ${this.inWords()}`);
  }

  async #request(part, clicks) {
    this.element.setAttribute("data-saving", "");
    const before = this.state.version;
    const at = path("environments", this.environment.key, "features", this.feature);
    const state = await call("PATCH", at, { ...part, version: before });
    if (state.updated_at >= this.state.updated_at) this.state = state;
    this.#page.editor.changedByUs(this, before);
    for (const click of clicks) {
      if (state.version === before) this.#page.clicks.drop(click);
      else this.#page.clicks.confirm(click, state.updated_at);
    }
  }

  inWords(state = this.state) {
    return `${state.enabled ? "on" : "off"}, ${shown(state.value)}`;
  }

  async #refused(refusal, wish) {
    this.#undone = wish;
    const again = { label: "Try again", act: () => this.change(wish) };
    switch (refusal.kind) {
      case "stale":
        return this.#stale(wish);
      case "session":
        return this.note("Not saved: your session is over.", [
          { label: "Sign in again", act: () => location.assign(signInAddress()) },
        ]);
      case "gone":
        this.note("Not saved: this feature or environment was deleted meanwhile.", [
          { label: "Reload the page", act: () => location.reload() },
        ]);
        return this.#page.recover(this.environment.key);
      case "invalid": {
        const message = (refusal.problem.errors ?? []).map((each) => each.message).join("; ") || refusal.message;
        if ("value" in wish) return this.#page.editor.open(this, wish.value, `Not saved: ${message}.`);
        return this.note(`Not saved: ${message}.`, [again]);
      }
      case "late":
      case "lost":
        this.note(`${refusal.message} Your change was taken back here; should it have got through, it shows once there is a connection again.`, [again]);
        return this.#page.recover(this.environment.key);
    }
    this.note(`Not saved. ${refusal.message}`, [again]);
  }

  async #stale(wish) {
    let who = "Somebody";
    try {
      const query = new URLSearchParams({ environment: this.environment.key, feature: this.feature, limit: 1 });
      const [state, log] = await Promise.all([
        call("GET", path("environments", this.environment.key, "features", this.feature)),
        call("GET", `${path("changes")}?${query}`),
      ]);
      who = log.items[0]?.actor ?? who;
      this.receive(state);
    } catch (refusal) {
      return this.#refused(refusal, wish);
    }
    const missing = Object.entries(wish).filter(([name, value]) => !same(value, this.state[name]));
    if (!missing.length) return;
    const mine = { ...this.state, ...wish };
    const label = "value" in wish ? `Set it to ${shown(wish.value)} anyway` : `Switch it ${mine.enabled ? "on" : "off"} anyway`;
    this.note(`Not saved: ${who} changed this meanwhile. It is now ${this.inWords()}.`, [
      { label, act: () => this.change(wish) },
      { label: "Leave it", act: () => this.note(null) },
    ]);
  }

  /** Say something under the cell, or nothing any more. */
  note(text, actions = []) {
    this.element.querySelector(".note")?.remove();
    if (!text) {
      this.#undone = null;
      return;
    }
    const note = document.createElement("div");
    note.className = "note";
    note.setAttribute("role", "alert");
    const buttons = document.createElement("div");
    buttons.className = "note-actions";
    for (const { label, act } of actions) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => {
        this.switch.focus();
        act();
      });
      buttons.append(button);
    }
    this.element.append(note);
    note.append(text, buttons); // after the region itself, so that it is read out
  }

  render() {
    const { enabled, value } = this.shown;
    this.switch.setAttribute("aria-checked", String(enabled));
    const text = shown(value);
    const place = this.value.querySelector("bdi");
    place.textContent = value === null ? "none" : text;
    this.value.dataset.kind = kindOf(value);
    this.value.title = text.length > 18 ? text : "";
    this.value.setAttribute("aria-label", `Value of ${this.title}: ${text}`);
  }

  #flash() {
    const { element } = this;
    element.classList.remove("fresh");
    void element.offsetWidth; // starts the animation again
    element.classList.add("fresh");
    clearTimeout(this.fading);
    this.fading = setTimeout(() => element.classList.remove("fresh"), 2600);
  }
}

/** Every state of an environment. */
export function statesOf(key) {
  return all(`${path("environments", key, "features")}?limit=500`);
}
