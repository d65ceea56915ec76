// Asking again every few seconds while somebody looks.

import { Refusal } from "./api.js";

const EVERY = 3_000;
const FIRST = 400; // by then this page's own streams are open, and count

/** Calls `ask` for ever, until the session is over; `ask` shows by itself that it got no answer. */
export function poll(ask) {
  async function turn() {
    try {
      if (!document.hidden) await ask();
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      if (refusal.kind === "session") return;
    }
    setTimeout(turn, EVERY);
  }
  setTimeout(turn, FIRST);
}
