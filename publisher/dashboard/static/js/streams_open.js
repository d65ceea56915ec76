// How many streams each environment has now, asked for every few seconds while somebody looks.

import { call, path } from "./api.js";
import { poll } from "./polling.js";

const number = new Intl.NumberFormat("en");

export function watchStreams(environments) {
  const keys = [...environments.keys()].slice(0, 200);
  if (!keys.length) return;
  const query = keys.map((key) => `environment=${encodeURIComponent(key)}`).join("&");

  poll(async () => {
    let streams = {};
    try {
      ({ streams } = await call("GET", `${path("streams")}?${query}`));
    } finally {
      for (const { key, head } of environments.values()) show(head.querySelector("[data-streams]"), streams[key]);
    }
  });
}

function show(place, count) {
  const text = count == null ? "streams unknown" : `${number.format(count)} stream${count === 1 ? "" : "s"}`;
  if (place.textContent !== text) place.textContent = text;
}
