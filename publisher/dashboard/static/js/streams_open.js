// How many streams each environment has now, asked for every few seconds while somebody looks.

import { call, path } from "./api.js";

const EVERY = 3_000;
const number = new Intl.NumberFormat("en");

export function watchStreams(environments) {
  const keys = [...environments.keys()].slice(0, 200);
  if (!keys.length) return;
  const query = keys.map((key) => `environment=${encodeURIComponent(key)}`).join("&");

  async function ask() {
    if (!document.hidden) {
      let streams = {};
      try {
        ({ streams } = await call("GET", `${path("streams")}?${query}`));
      } catch (refusal) {
        if (refusal.kind === "session") return;
      }
      for (const { key, head } of environments.values()) show(head.querySelector("[data-streams]"), streams[key]);
    }
    setTimeout(ask, EVERY);
  }
  setTimeout(ask, 400); // by then this page's own streams are open, and count
}

function show(place, count) {
  const text = count == null ? "streams unknown" : `${number.format(count)} stream${count === 1 ? "" : "s"}`;
  if (place.textContent !== text) place.textContent = text;
}
