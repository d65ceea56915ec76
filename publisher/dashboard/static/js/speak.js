// The page's polite live region: one sentence at a time, for those who cannot see the cell change.

const region = document.getElementById("spoken");
let waiting;

export function speak(sentence) {
  clearTimeout(waiting);
  region.textContent = "";
  waiting = setTimeout(() => (region.textContent = sentence), 50);
}
