// Copy buttons, and server keys, which come from the server only when somebody asks for them.

import { call, path } from "./api.js";
import { speak } from "./speak.js";

const keys = new Map();

async function serverKey(environment) {
  if (!keys.has(environment)) keys.set(environment, (await call("GET", path("environments", environment))).server_key);
  return keys.get(environment);
}

export function prepareCopying() {
  document.addEventListener("click", ({ target }) => {
    const copier = target.closest("[data-copy]");
    const revealer = target.closest("[data-reveal]");
    if (copier) copy(copier);
    if (revealer) reveal(revealer);
  });
  for (const tabs of document.querySelectorAll("[data-tabs]")) prepareTabs(tabs);
}

async function copy(button) {
  try {
    let text = button.dataset.copy;
    if (button.dataset.serverKeyOf) text = text.replace("SERVER_KEY", await serverKey(button.dataset.serverKeyOf));
    await write(text);
    label(button, "Copied");
    speak("Copied");
  } catch (error) {
    label(button, "Not copied");
    speak(`Not copied. ${error.message}`);
  }
}

function label(button, word) {
  const first = button.firstChild;
  button.dataset.word ??= first.data;
  first.data = word;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => (first.data = button.dataset.word), 1600);
}

async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Browsers offer the clipboard only to secure origins; over plain HTTP the old way still works.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("This browser does not allow it.");
}

async function reveal(button) {
  const key = document.getElementById(button.getAttribute("aria-controls"));
  const shown = button.getAttribute("aria-expanded") === "true";
  if (shown) key.textContent = key.dataset.masked;
  else {
    key.dataset.masked ??= key.textContent;
    try {
      key.textContent = await serverKey(button.dataset.reveal);
    } catch (refusal) {
      speak(refusal.message);
      label(button, "Not shown");
      return;
    }
  }
  button.setAttribute("aria-expanded", String(!shown));
  button.firstChild.data = shown ? "Show" : "Hide";
}

function prepareTabs(element) {
  const tabs = [...element.querySelectorAll("[role=tab]")];
  const select = (tab) => {
    for (const each of tabs) {
      const selected = each === tab;
      each.setAttribute("aria-selected", String(selected));
      each.tabIndex = selected ? 0 : -1;
      document.getElementById(each.getAttribute("aria-controls")).hidden = !selected;
    }
  };
  element.addEventListener("click", ({ target }) => target.closest("[role=tab]") && select(target.closest("[role=tab]")));
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !event.target.closest("[role=tab]")) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
}
