// Times for people: relative first, absolute in the reader's own zone beside it.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
const DAY = { day: "numeric", month: "short" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const absolute = new Intl.DateTimeFormat("en-GB", { ...DAY, ...TIME });
const longAgo = new Intl.DateTimeFormat("en-GB", { ...DAY, year: "numeric" });

export function ago(date, now = Date.now()) {
  let amount = (date - now) / 1000;
  if (Math.abs(amount) < 5) return "just now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
}

function show(element) {
  const date = new Date(element.dateTime);
  const exact = document.createElement("span");
  exact.className = "absolute";
  const thisYear = date.getFullYear() === new Date().getFullYear();
  exact.textContent = (thisYear ? absolute : longAgo).format(date);
  element.replaceChildren(ago(date), " ", exact);
  element.title = date.toString();
}

export function showTimes() {
  const times = document.querySelectorAll("time[data-relative]");
  const refresh = () => times.forEach(show);
  refresh();
  if (times.length) setInterval(refresh, 20_000);
}
