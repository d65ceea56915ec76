// A link from another site arrives without the strict cookie and lands here although the browser is signed in.

const form = document.querySelector("form[data-next]");
const answer = await fetch("/session", { credentials: "same-origin", cache: "no-store" }).catch(() => null);
if (answer?.headers.get("X-Signed-In") === "1") location.replace(form.dataset.next);
