// The table of features × environments: cells by place, kept true to the server, rows that come and go.

import { Cell, statesOf } from "./cell.js";
import { speak } from "./speak.js";

const RETRY = 2_000;

export class Matrix {
  environments = new Map();
  #cells = new Map();
  #reading = new Map();
  #recovering = new Set();
  #page;

  constructor(table, { clicks, editor }) {
    this.table = table;
    this.body = table.tBodies[0];
    this.editor = editor;
    this.filter = document.getElementById("filter");
    this.count = document.getElementById("count");
    this.#page = { clicks, editor, recover: (key) => this.recover(key) };
    for (const head of table.tHead.querySelectorAll("[data-environment]")) {
      const { environment: key, name, updatedAt } = head.dataset;
      this.environments.set(key, { key, name, head, heard: Number(updatedAt) });
    }
    for (const row of this.body.rows) this.#adopt(row);
    this.filter.addEventListener("input", () => this.narrow());
    this.filter.form.addEventListener("submit", (event) => {
      if (!this.filter.dataset.several) event.preventDefault();
    });
    this.narrow();
  }

  #adopt(row) {
    const cells = new Map();
    for (const element of row.querySelectorAll("td[data-cell]")) {
      const environment = this.environments.get(element.dataset.environment);
      if (!environment) continue;
      cells.set(environment.key, new Cell(element, environment, row.dataset.feature, JSON.parse(element.dataset.cell), this.#page));
    }
    this.#cells.set(row.dataset.feature, { row, cells });
  }

  cell(feature, key) {
    return this.#cells.get(feature)?.cells.get(key);
  }

  /** Read an environment again; a call while one reading runs is answered by one more after it. */
  refresh(key) {
    const running = this.#reading.get(key);
    if (running?.next) return running.next;
    const reading = { done: null, next: null };
    if (running) {
      running.next = running.done.catch(() => {}).then(() => this.#read(key, reading));
      reading.done = running.next;
    } else reading.done = this.#read(key, reading);
    return reading.done;
  }

  async #read(key, reading) {
    this.#reading.set(key, reading);
    try {
      await this.#readNow(key);
    } finally {
      if (this.#reading.get(key) === reading && !reading.next) this.#reading.delete(key);
    }
  }

  async #readNow(key) {
    const states = await statesOf(key);
    const there = new Set(states.map((state) => state.feature));
    const changed = states.filter((state) => this.cell(state.feature, key)?.receive(state));
    const gone = [...this.#cells.keys()].some((feature) => !there.has(feature));
    const partial = this.filter.dataset.several;
    const come = !partial && states.some((state) => !this.cell(state.feature, key));
    if (gone || come) await this.refreshRows();
    if (changed.length === 1) speak(`${changed[0].feature} in ${this.environments.get(key).name} changed: ${changed[0].enabled ? "on" : "off"}`);
    else if (changed.length) speak(`${changed.length} features changed in ${this.environments.get(key).name}`);
  }

  /** Read an environment again, and after a failure again until the server answers: what is shown has to be true. */
  async recover(key) {
    if ((await this.#tried(key)) || this.#recovering.has(key)) return;
    this.#recovering.add(key);
    do await new Promise((resolve) => setTimeout(resolve, RETRY));
    while (!(await this.#tried(key)));
    this.#recovering.delete(key);
  }

  async #tried(key) {
    try {
      await this.refresh(key);
    } catch (refusal) {
      if (refusal.kind === "gone") tellToReload();
      return refusal.kind === "session" || refusal.kind === "gone";
    }
    return true;
  }

  /** Features came, went or were renamed: take their rows from a fresh page. */
  async refreshRows() {
    const response = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const columns = [...fresh.querySelectorAll("#matrix thead [data-environment]")].map((head) => head.dataset.environment);
    if (columns.join() !== [...this.environments.keys()].join()) return tellToReload();
    const rows = [...fresh.querySelectorAll("#matrix tbody tr")];
    const names = new Set(rows.map((row) => row.dataset.feature));
    for (const [feature, { row }] of this.#cells) {
      if (names.has(feature)) continue;
      this.editor.leaving(row);
      row.remove();
      this.#cells.delete(feature);
    }
    for (const [index, row] of rows.entries()) {
      const known = this.#cells.get(row.dataset.feature);
      if (known && row.querySelectorAll("td[data-cell]").length === known.cells.size) this.#describe(known.row, row);
      else this.#insert(known, row, index);
    }
    this.count.textContent = fresh.getElementById("count").textContent;
    this.table.hidden = rows.length === 0;
    document.getElementById("no-features").hidden = rows.length > 0 || Boolean(this.filter.value) || !this.environments.size;
    this.narrow();
  }

  #insert(known, row, index) {
    if (known) {
      this.editor.leaving(known.row);
      known.row.remove();
    }
    const adopted = document.importNode(row, true);
    this.body.insertBefore(adopted, this.body.rows[index] ?? null);
    this.#adopt(adopted);
    adopted.cells[0].classList.add("fresh");
  }

  #describe(row, fresh) {
    row.dataset.version = fresh.dataset.version;
    if (row.dataset.description === fresh.dataset.description) return;
    row.dataset.description = fresh.dataset.description;
    row.cells[0].replaceChildren(...document.importNode(fresh.cells[0], true).childNodes);
  }

  /** Show the rows that the filter's text occurs in. */
  narrow() {
    const text = this.filter.value.trim().toLowerCase();
    let visible = 0;
    for (const { row } of this.#cells.values()) {
      const { feature, description } = row.dataset;
      row.hidden = Boolean(text) && !`${feature}\n${description}`.toLowerCase().includes(text);
      visible += !row.hidden;
    }
    const total = this.#cells.size;
    if (!this.filter.dataset.several) {
      const all = `${total} feature${total === 1 ? "" : "s"}`;
      this.count.textContent = visible === total ? all : `${visible} of ${all}`;
    } else if (text && visible < total) this.count.textContent = `${visible} on this page; Enter searches all`;
    const none = total > 0 && visible === 0;
    document.getElementById("no-match").hidden = !none;
    this.table.hidden = none || total === 0;
  }
}

function tellToReload() {
  const banner = document.getElementById("banner");
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "Reload the page";
  banner.replaceChildren("Environments of this project came or went meanwhile. ", link);
  banner.hidden = false;
}
