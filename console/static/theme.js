"use strict";
// Before the page is painted, so that a dark room sees no white flash
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
