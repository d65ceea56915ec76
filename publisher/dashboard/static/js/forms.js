// Dialogs that make, rename and delete through the API; what is wrong is said at the field that it is about.

import { call } from "./api.js";
import { Fault, ValueField } from "./values.js";

export function open(dialog) {
  const form = dialog.querySelector("form");
  form.reset();
  clear(form);
  form.valueField?.arrange();
  dialog.showModal();
  const field = form.querySelector("input:not([type=hidden]), textarea");
  field?.focus();
  field?.select();
}

export function prepareDialogs() {
  document.addEventListener("click", ({ target }) => {
    const opener = target.closest("[data-open]");
    if (opener) open(document.getElementById(opener.dataset.open));
    if (target.closest("[data-close]")) target.closest("dialog").close();
    if (target.tagName === "DIALOG") closeFromBackdrop(target);
  });
  for (const form of document.querySelectorAll("dialog form")) prepare(form);
  if (location.hash === "#new") {
    history.replaceState(null, "", location.pathname + location.search); // once, not after every reload
    document.getElementById("new")?.click();
  }
}

function closeFromBackdrop(dialog) {
  // Not when something was typed: a slip beside the dialog would lose it.
  const typed = [...dialog.querySelectorAll("input, textarea")].some((field) => field.value !== field.defaultValue);
  if (!typed) dialog.close();
}

function prepare(form) {
  const field = form.querySelector("[data-value-field]");
  if (field) form.valueField = new ValueField(field);
  form.noValidate = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form);
  });
  const confirm = form.querySelector("[data-confirm]");
  confirm?.addEventListener("input", () => {
    form.querySelector("[data-submit]").disabled = confirm.value.trim() !== confirm.dataset.confirm.trim();
  });
}

function clear(form) {
  for (const line of form.querySelectorAll(".fault")) line.textContent = "";
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  if (form.querySelector("[data-confirm]")) form.querySelector("[data-submit]").disabled = true;
}

function read(form) {
  if (form.dataset.method === "DELETE") return undefined;
  const body = {};
  for (const field of form.elements) {
    if (field.name && !field.closest("[data-value-field]")) {
      body[field.name] = field.type === "checkbox" ? field.checked : field.value.trim();
    }
  }
  if (form.valueField) body.value = form.valueField.read();
  if (form.dataset.version) body.version = Number(form.dataset.version);
  return body;
}

async function submit(form) {
  const button = form.querySelector("[data-submit]");
  if (button.disabled) return;
  clear(form);
  let body;
  try {
    body = read(form);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    form.valueField.fault(fault.message);
    form.valueField.focus();
    return;
  }
  button.disabled = true;
  try {
    done(form, await call(form.dataset.method, form.dataset.path, body));
  } catch (refusal) {
    button.disabled = false;
    tell(form, refusal);
  }
}

function done(form, made) {
  const dialog = form.closest("dialog");
  if (form.dataset.then) {
    location.assign(form.dataset.then.replace("{id}", made.id));
    return;
  }
  // A page that keeps itself up to date takes it from here; others are loaded again.
  const event = new CustomEvent("flagstream:changed", { cancelable: true, bubbles: true, detail: { made } });
  if (form.dispatchEvent(event)) location.reload();
  else {
    form.querySelector("[data-submit]").disabled = false;
    dialog.close();
  }
}

function tell(form, refusal) {
  const general = form.querySelector('[data-fault-of=""]');
  if (refusal.kind === "stale") {
    general.textContent = "Somebody changed this meanwhile. Reload the page, look again, and repeat your change.";
    return;
  }
  const rest = [];
  for (const { field, message } of refusal.problem.errors ?? []) {
    const line = form.querySelector(`[data-fault-of="${CSS.escape(field)}"]`);
    if (field === "value" && form.valueField) form.valueField.fault(sentence(message));
    else if (line && field) {
      line.textContent = sentence(message);
      const input = form.elements[field];
      input.setAttribute("aria-invalid", "true");
      input.focus();
    } else rest.push(sentence(message));
  }
  if (!refusal.problem.errors?.length) rest.push(`${sentence(refusal.message)} Nothing was changed as far as is known; try again.`);
  general.textContent = rest.join(" ");
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
