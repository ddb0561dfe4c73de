"use strict";

// Texts from the store become text nodes, never markup.
const at = (id) => document.getElementById(id);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function show(progress) {
  document.body.classList.remove("lost");
  document.title = `${progress.headline} · embedshift`;
  at("clock").textContent = progress.clock;
  at("headline").textContent = progress.headline;
  at("steps").replaceChildren(...progress.steps.map(([mark, name, state]) =>
    element("li", `${mark} ${name}`, {class: state.replace(" ", "-")})));
  at("share").hidden = progress.share === null;
  at("share").value = progress.share ?? 0;
  at("rows").replaceChildren(...progress.rows.flatMap(([label, text]) => [element("dt", label), element("dd", text)]));
  at("slow").hidden = progress.slowest.length === 0;
  at("slowest-head").replaceChildren(...progress.head.map((head) => element("th", head, {scope: "col", role: "columnheader"})));
  at("slowest").replaceChildren(...progress.slowest.map((cells) => {
    const row = element("tr", "", {role: "row"});
    row.append(...cells.map((cell, place) => element("td", cell, {role: "cell", "data-label": progress.head[place]})));
    return row;
  }));
}

function lost(why) {
  document.body.classList.add("lost");
  at("headline").textContent = why;
}

// The server ends a stream every few minutes; the browser opens the next one by itself.
const stream = new EventSource("events");
stream.addEventListener("progress", (event) => show(JSON.parse(event.data)));
stream.addEventListener("trouble", (event) => lost(JSON.parse(event.data)));
let silent;
stream.onopen = () => clearTimeout(silent);
stream.onerror = () => { silent = setTimeout(() => lost("embedshift serve does not answer; the data below is old"), 8000); };
