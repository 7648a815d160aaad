// The keyboard: "/" to the search, arrows through the cards, Esc out.

import { $ } from "./dom.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/** onescape clears the search. */
export function setUpKeys(onescape) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/" && !event.target.matches("input, textarea, select")) {
      event.preventDefault();
      $("query").focus();
      $("query").select();
    } else if (event.key === "Escape") {
      onescape();
    } else if (event.key === "ArrowDown" && event.target === $("query")) {
      const first = cards()[0];
      if (first) go(event, first);
    } else {
      move(event);
    }
  });
}

const cards = () => [...$("cards").querySelectorAll("article")];

function move(event) {
  const article = event.target.closest?.("[data-cards] article");
  if (!article || event.target.matches("audio, video")) return; // those use the arrows themselves
  const all = cards();
  const at = all.indexOf(article);
  if (event.key in STEPS) go(event, all[at + STEPS[event.key]]);
  else if (event.key === "ArrowDown") go(event, inRow(all, at, 1));
  else if (event.key === "ArrowUp") go(event, inRow(all, at, -1) ?? $("query"));
  else if (event.key === "Home") go(event, all[0]);
  else if (event.key === "End") go(event, all.at(-1));
}

function go(event, target) {
  if (!target) return;
  event.preventDefault();
  if (target.matches("article")) {
    for (const other of cards()) other.tabIndex = -1;
    target.tabIndex = 0;
  }
  target.focus();
}

/** The card nearest below (1) or above (-1) in the same column. */
function inRow(all, at, direction) {
  const from = all[at].getBoundingClientRect();
  const beyond = all
    .map((one) => ({ one, box: one.getBoundingClientRect() }))
    .filter(({ box }) => direction * (box.top - from.top) > 4);
  const score = ({ box }) => Math.abs(box.top - from.top) * 10 + Math.abs(box.left - from.left);
  return beyond.sort((a, b) => score(a) - score(b))[0]?.one;
}
