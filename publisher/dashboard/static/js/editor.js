// The editor of one value: a panel in the top layer beside its cell. Enter saves, Escape leaves, and the panel stands in
// the document where its cell is, so that Tab goes on from there.

import { call, path } from "./api.js";
import { Fault, ValueField } from "./values.js";

const GAP = 6;

export class Editor {
  #cell = null;
  #base = 0; // the version that the person has seen

  constructor(form) {
    this.form = form;
    this.home = form.parentElement;
    this.title = form.querySelector("h2");
    this.notice = form.querySelector(".editor-note");
    this.field = new ValueField(form.querySelector("[data-value-field]"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    form.addEventListener("keydown", (event) => this.#key(event));
    form.querySelector("[data-cancel]").addEventListener("click", () => this.close());
    document.addEventListener("pointerdown", ({ target }) => {
      const untouched = this.#cell && !form.contains(target) && this.#text() === this.untouched;
      if (untouched) this.close(false);
    });
    for (const change of ["scroll", "resize"]) window.addEventListener(change, () => this.#place(), { capture: true, passive: true });
  }

  /** Open for `cell`, with its value or with what was typed before. */
  open(cell, value = cell.shown.value, fault = "") {
    this.close(false);
    this.#cell = cell;
    this.#base = cell.state.version;
    this.title.textContent = cell.title;
    this.notice.textContent = "";
    cell.element.append(this.form);
    this.form.showPopover();
    this.field.set(value);
    this.field.fault(fault);
    this.untouched = this.#text();
    cell.value.setAttribute("aria-expanded", "true");
    this.#place();
    this.field.focus();
  }

  close(returnFocus = true) {
    const cell = this.#cell;
    if (!cell) return;
    this.#cell = null;
    this.form.hidePopover();
    this.home.append(this.form);
    cell.value.setAttribute("aria-expanded", "false");
    if (returnFocus) cell.value.focus({ preventScroll: true });
  }

  /** The row of the cell that is edited is about to go. */
  leaving(row) {
    if (this.#cell && row.contains(this.#cell.element)) this.close(false);
  }

  /** A change of this page's own was saved, on top of version `before`: nothing that the person has not seen. */
  changedByUs(cell, before) {
    if (cell === this.#cell && this.#base === before) this.#base = cell.state.version;
  }

  /** Somebody else changed `cell`; say so if it is the one being edited. */
  async changedBelow(cell) {
    if (cell !== this.#cell || cell.state.version === this.#base) return;
    const version = cell.state.version;
    this.#tell(cell, "Somebody");
    try {
      const query = new URLSearchParams({ environment: cell.environment.key, feature: cell.feature, limit: 1 });
      const { items } = await call("GET", `${path("changes")}?${query}`);
      if (cell === this.#cell && cell.state.version === version && items.length) this.#tell(cell, items[0].actor);
    } catch {
      // Who it was is good to know, not needed.
    }
  }

  #tell(cell, who) {
    this.notice.textContent = `${who} changed this while you were editing. It is now ${cell.inWords()}.`;
  }

  #save() {
    const cell = this.#cell;
    let value;
    try {
      value = this.field.read();
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      this.field.fault(fault.message);
      this.field.focus();
      return;
    }
    if (cell.state.version !== this.#base) {
      // Seen once is enough: the next save replaces it.
      this.#base = cell.state.version;
      this.notice.textContent = `It is now ${cell.inWords()}. Save again to replace that.`;
      return;
    }
    this.close();
    cell.change({ value });
  }

  #key(event) {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.close();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches("textarea, input, select")) {
      event.preventDefault();
      this.#save();
    }
  }

  #text() {
    const { kind, text, booleans } = this.field;
    return JSON.stringify([kind.value, text.value, booleans.find((each) => each.checked)?.value]);
  }

  /** Under the value, or above it where there is no room, always on the screen. */
  #place() {
    if (!this.#cell) return;
    const at = this.#cell.value.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.form;
    const left = Math.max(12, Math.min(at.left, innerWidth - width - 12));
    const below = at.bottom + GAP;
    const top = below + height <= innerHeight - 12 ? below : Math.max(12, at.top - GAP - height);
    this.form.style.left = `${left}px`;
    this.form.style.top = `${top}px`;
  }
}
