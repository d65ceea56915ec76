// Flag values: how they are shown, and how a typed field is read.

const LARGEST_INTEGER = Number.MAX_SAFE_INTEGER;
const LONGEST = 20_000;
const LONGEST_SHOWN = 200;

export function kindOf(value) {
  if (value === null) return "none";
  const type = typeof value;
  return type === "object" ? "json" : type;
}

export function shown(value) {
  if (value === null) return "no value";
  const text = JSON.stringify(value);
  return text.length > LONGEST_SHOWN ? text.slice(0, LONGEST_SHOWN - 1) + "…" : text;
}

export function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A value that cannot be; the message says what to do. */
export class Fault extends Error {}

export function parse(kind, text, chosen) {
  switch (kind) {
    case "none":
      return null;
    case "boolean":
      if (chosen === undefined) throw new Fault("Choose true or false.");
      return chosen === "true";
    case "number":
      return number(text.trim());
    case "json":
      return json(text);
  }
  return bounded(text);
}

function number(text) {
  if (!text) throw new Fault("Enter a number.");
  if (!/^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw new Fault(text.includes(",") ? "Use a point for decimals, and no separators." : "This is not a number, such as 42 or -0.5.");
  }
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Fault("This number is too large.");
  checkInteger(value);
  return value;
}

function json(text) {
  if (!text.trim()) throw new Fault("Enter JSON, such as {\"limit\": 10}.");
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Fault(`This is not JSON: ${error.message.replace(/^JSON\.parse: /, "")}.`);
  }
  walk(value, 0);
  return bounded(value);
}

function walk(value, depth) {
  if (depth > 64) throw new Fault("This is nested deeper than 64 levels.");
  if (typeof value === "number") checkInteger(value);
  if (value !== null && typeof value === "object") for (const each of Object.values(value)) walk(each, depth + 1);
}

function checkInteger(value) {
  if (Number.isInteger(value) && Math.abs(value) > LARGEST_INTEGER) {
    throw new Fault(`Integers beyond ±${LARGEST_INTEGER} lose digits in apps. Use a string.`);
  }
}

function bounded(value) {
  const length = JSON.stringify(value).length;
  if (length > LONGEST) throw new Fault(`This has ${length} characters as JSON; ${LONGEST} are allowed.`);
  return value;
}

/** A select for the type and what belongs to it, as rendered by the macro `value_field`. */
export class ValueField {
  constructor(element) {
    this.kind = element.querySelector("[data-kind]");
    this.text = element.querySelector("[data-text]");
    this.textPart = element.querySelector("[data-text-part]");
    this.booleanPart = element.querySelector("[data-boolean-part]");
    this.booleans = [...element.querySelectorAll("[data-boolean]")];
    this.faultLine = element.querySelector("[data-fault]");
    this.kind.addEventListener("change", () => this.arrange());
    this.text.addEventListener("input", () => this.fault(""));
    this.arrange();
  }

  arrange() {
    const kind = this.kind.value;
    this.textPart.hidden = kind === "boolean" || kind === "none";
    this.booleanPart.hidden = kind !== "boolean";
    this.text.inputMode = kind === "number" ? "decimal" : "text";
    if (kind === "boolean" && !this.booleans.some((each) => each.checked)) this.booleans[0].checked = true;
    this.fault("");
  }

  set(value) {
    const kind = kindOf(value);
    this.kind.value = kind;
    this.text.value = kind === "string" ? value : kind === "none" || kind === "boolean" ? "" : JSON.stringify(value, null, 2);
    for (const each of this.booleans) each.checked = each.value === String(value);
    this.arrange();
  }

  read() {
    return parse(this.kind.value, this.text.value, this.booleans.find((each) => each.checked)?.value);
  }

  fault(message) {
    this.faultLine.textContent = message;
    this.text.setAttribute("aria-invalid", message ? "true" : "false");
  }

  focus() {
    if (!this.textPart.hidden) {
      this.text.focus();
      this.text.select();
    } else if (!this.booleanPart.hidden) {
      this.booleans.find((each) => each.checked)?.focus();
    } else {
      this.kind.focus();
    }
  }
}
