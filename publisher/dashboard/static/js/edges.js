// What the edges carry now: many clients there, a handful of streams here. Shown only when an edge answers.

import { call, path } from "./api.js";
import { poll } from "./polling.js";

const number = new Intl.NumberFormat("en");

export function watchEdges(place) {
  poll(async () => {
    let edges = null;
    try {
      ({ edges } = await call("GET", path("edges")));
    } finally {
      const text = inWords(edges ?? []);
      if (place.textContent !== text) place.textContent = text;
      place.hidden = !text;
    }
  });
}

function inWords(edges) {
  if (!edges.length) return "";
  const sum = (name) => edges.reduce((total, edge) => total + edge[name], 0);
  const waiting = sum("waiting_streams") ? ", waiting room in use" : "";
  return `${count(sum("clients"), "client")} at ${count(edges.length, "edge")} → ${count(sum("origin_streams"), "origin stream")}${waiting}`;
}

function count(amount, what) {
  return `${number.format(amount)} ${what}${amount === 1 ? "" : "s"}`;
}
