// The live panel: every push as it arrives, what it carried, and how long it took.

import { call, path } from "./api.js";
import { now } from "./clock.js";
import { Figures, inWords } from "./latency.js";
import { shown } from "./values.js";

const MOST_ROWS = 200;
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export class LivePanel {
  #figures = new Figures();
  #list = document.getElementById("pushes");

  /** One push: {version, at, whileConnecting}; `since` is the newest version known before it. */
  async show(environment, push, since, clicks, serverClock) {
    const row = this.#row(environment, push);
    this.#list.prepend(row.element);
    while (this.#list.children.length > MOST_ROWS) this.#list.lastChild.remove();
    document.getElementById("no-pushes").hidden = true;

    await this.#measure(row, push, clicks, serverClock);
    await this.#explain(row, environment, since, push.version);
  }

  #row(environment, push) {
    const element = document.createElement("li");
    element.className = "fresh";
    const make = (tag, name, text = "") => {
      const part = document.createElement(tag);
      part.className = name;
      part.textContent = text;
      element.append(part);
      return part;
    };
    const title = make("span", "title");
    const latency = make("span", "latency", "…");
    const about = make("span", "about", environment.name);
    const time = document.createElement("time");
    const when = new Date(performance.timeOrigin + push.at);
    time.dateTime = when.toISOString();
    time.textContent = `${clock.format(when)}.${String(when.getMilliseconds()).padStart(3, "0")}`;
    time.title = `Version ${push.version.toFixed(6)}`;
    element.append(time);
    title.append("Environment changed");
    return { element, title, latency, about };
  }

  async #measure(row, push, clicks, serverClock) {
    await Promise.all(clicks.map((click) => click.known));
    const mine = clicks.filter((click) => click.latency !== null && click.version <= push.version).map((click) => click.latency);
    if (mine.length) {
      for (const latency of mine) this.#figures.add(latency);
      this.#latency(row, Math.max(...mine), "", mine.length > 1 ? `The slowest of ${mine.length} changes that this push carries` : "From your click to the event");
    } else if (push.whileConnecting) {
      row.latency.textContent = "while connecting";
      row.latency.classList.add("none");
    } else {
      const latency = serverClock.since(push.version, performance.timeOrigin + push.at);
      if (latency === null) {
        row.latency.textContent = "not measured";
        row.latency.classList.add("none");
        row.latency.title = "The server's clock is not known yet";
      } else {
        this.#figures.add(Math.max(0, latency));
        this.#latency(row, latency, "≈ ", `From the change's time to the event, ±${serverClock.error.toFixed(1)} ms`);
      }
    }
    this.#total();
  }

  #latency(row, milliseconds, sign, title) {
    row.latency.textContent = sign + inWords(milliseconds).join(" ");
    row.latency.title = title;
    row.element.dataset.latency = milliseconds.toFixed(3);
  }

  #total() {
    for (const [id, share] of [["median", 0.5], ["p99", 0.99]]) {
      const quantile = this.#figures.quantile(share);
      if (quantile === null) continue;
      const [number, unit] = inWords(quantile);
      const small = document.createElement("small");
      small.textContent = ` ${unit}`;
      document.getElementById(id).replaceChildren(number, small);
    }
    document.getElementById("measured").textContent = this.#figures.count;
  }

  /** Ask the change log what the push was about. */
  async #explain(row, environment, since, until) {
    const query = new URLSearchParams({ environment: environment.key, limit: 20 });
    let lines;
    try {
      lines = (await call("GET", `${path("changes")}?${query}`)).items;
    } catch {
      return; // the push itself is shown already
    }
    lines = lines.filter((line) => line.updated_at > since && line.updated_at <= until);
    if (!lines.length) {
      row.about.textContent = `${environment.name}, announced from outside`;
      return;
    }
    const features = [...new Map(lines.map((line) => [line.feature, line])).keys()].filter(Boolean);
    const [newest] = lines;
    const name = document.createElement("bdi");
    name.className = "what";
    name.textContent = features.length > 1 ? `${features.length} features` : (newest.feature ?? newest.environment);
    row.title.replaceChildren(name, features.length > 1 ? "" : ` ${inShort(lines)}`);
    const who = [...new Set(lines.map((line) => line.actor))].join(", ");
    row.about.textContent = `${environment.name}, by ${who}${lines.length > 1 ? `, ${lines.length} changes` : ""}`;
  }
}

function inShort(lines) {
  const { action, after } = lines[0];
  if (action !== "state.changed") return action.split(".")[1];
  const before = lines.at(-1).before;
  const parts = [];
  if (before.enabled !== after.enabled) parts.push(after.enabled ? "on" : "off");
  if (JSON.stringify(before.value) !== JSON.stringify(after.value)) parts.push(`→ ${cut(shown(after.value))}`);
  return parts.join(", ") || "changed and changed back";
}

function cut(text) {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
