"use strict";
const root = document.documentElement;

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

const toggle = document.getElementById("theme");
if (toggle) {
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

// The heat map fades with its slider
document.addEventListener("input", (event) => {
  const name = event.target.dataset && event.target.dataset.heat;
  if (!name) return;
  document.getElementById(name).setAttribute("opacity", String(event.target.value / 100));
  const output = event.target.parentElement.querySelector("output");
  if (output) output.value = `${event.target.value} %`;
});

// A list that cannot refresh itself says so: nobody may take an old list for the present
const stale = document.getElementById("stale");
let since = null;
function failed() {
  since = since || new Date();
  stale.textContent = `Not live since ${since.toLocaleTimeString()}: the node does not answer. What you see may be old.`;
  stale.hidden = false;
}
document.addEventListener("htmx:responseError", failed);
document.addEventListener("htmx:sendError", failed);
document.addEventListener("htmx:afterOnLoad", () => {
  since = null;
  stale.hidden = true;
});
