// The page of a project, put together.

import { path } from "./api.js";
import { ServerClock } from "./clock.js";
import { watchEdges } from "./edges.js";
import { Editor } from "./editor.js";
import { open } from "./forms.js";
import { Clicks } from "./latency.js";
import { Listening } from "./listening.js";
import { LivePanel } from "./live.js";
import { Matrix } from "./matrix.js";
import { watchStreams } from "./streams_open.js";

const table = document.getElementById("matrix");
const clicks = new Clicks();
const editor = new Editor(document.getElementById("editor"));
const matrix = new Matrix(table, { clicks, editor });
const panel = new LivePanel();
const serverClock = new ServerClock();

const listening = new Listening(matrix.environments, table.dataset.streamUrl, onPush, (words, good) => {
  const place = document.getElementById("connection");
  if (place.textContent !== words) place.textContent = words;
  place.dataset.state = good ? "good" : "bad";
});

function onPush(key, push) {
  const environment = matrix.environments.get(key);
  if (push.version <= environment.heard) return; // streams repeat what they know, and joined ones replay
  const since = environment.heard;
  environment.heard = push.version;
  const mine = clicks.arrived(key, push.version, push.at);
  matrix.recover(key);
  panel.show(environment, push, since, mine, serverClock);
}

listening.start();
watchStreams(matrix.environments);
watchEdges(document.getElementById("edges"));
serverClock.start(({ error }) => {
  document.getElementById("clock").textContent = `to ±${error.toFixed(1)} ms`;
});

// The panel can be put away; this browser remembers.
const shows = document.getElementById("show-live");
const hides = document.getElementById("hide-live");

function showPanel(visible) {
  document.getElementById("with-side").classList.toggle("side-hidden", !visible);
  shows.hidden = visible;
  for (const button of [shows, hides]) button.setAttribute("aria-expanded", String(visible));
  localStorage.setItem("flagstream.live-panel", visible ? "shown" : "hidden");
}

showPanel(localStorage.getItem("flagstream.live-panel") !== "hidden");
hides.addEventListener("click", () => (showPanel(false), shows.focus()));
shows.addEventListener("click", () => (showPanel(true), hides.focus()));

// Renaming, describing and deleting features.
const edit = document.querySelector("#edit-feature form");
const remove = document.querySelector("#delete-feature form");

table.addEventListener("click", ({ target }) => {
  if (!target.closest("[data-edit-feature]")) return;
  const { feature, description, version } = target.closest("tr").dataset;
  for (const form of [edit, remove]) form.dataset.path = path("projects", table.dataset.project, "features", feature);
  edit.dataset.version = version;
  edit.elements.name.defaultValue = feature;
  edit.elements.description.defaultValue = description;
  remove.querySelector("[data-confirm-name] bdi").textContent = feature;
  remove.querySelector("[data-confirm]").dataset.confirm = feature;
  open(document.getElementById("edit-feature"));
});

document.querySelector("[data-delete-feature]").addEventListener("click", () => {
  document.getElementById("edit-feature").close();
  open(document.getElementById("delete-feature"));
});

document.addEventListener("flagstream:changed", (event) => {
  event.preventDefault();
  matrix.refreshRows();
});
