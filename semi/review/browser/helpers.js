// Small helpers: elements, numbers as people read them, what the browser remembers.

const about = JSON.parse(document.getElementById("about").textContent);
const byId = (id) => document.getElementById(id);

// Returns a new element. Texts are set as text, never as HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);
const several = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const words = { unsure: "unsure", bad_audio: "bad audio" };
const verdictWords = (word) => (word.verdict === "label" ? word.label : words[word.verdict]);

// What a key of a label is: 1 to 9, then 0; further classes have buttons alone.
const keyOfClass = (place) => (place < 9 ? String(place + 1) : place === 9 ? "0" : "");

function seconds(value) {
  const whole = Math.floor(value);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}.${Math.floor((value - whole) * 10)}`;
}

// The browser's memory; a page opened from a file may have none.
const memory = {
  get(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`semi-review ${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`semi-review ${name}`, JSON.stringify(value));
    } catch {
      // nothing is remembered then
    }
  },
};

let toastTimer = 0;
// Says something at the bottom; what went wrong stays until the next thing is said.
function tell(text, isError = false) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.className = isError ? "error shown" : "shown";
  clearTimeout(toastTimer);
  if (!isError) toastTimer = setTimeout(() => (toast.className = ""), 2500);
}
