// The lower part of the page: what is in the store, or what was found, with filters, counts and empty states.

import { $, announce, icon, make } from "./dom.js";
import { card } from "./cards.js";
import { counted, number, t } from "./i18n.js";

const KINDS = ["text", "image", "audio", "video"];
const shown = { things: [], filter: "all", searching: false, actions: {} };

export function setUpShelf(actions) {
  shown.actions = actions;
}

export function shownThings() {
  return shown.things;
}

/** Show what a search found; store is the name for the empty state, onagain is there while more may come. */
export function showResults(things, { store, onagain, onanyway, onclear }) {
  Object.assign(shown, { things, searching: true, filter: "all" });
  $("more").hidden = true;
  $("shelf-title").textContent = things.length ? counted("results.count", things.length) : t(onagain ? "results.none.yet" : "results.none");
  announce($("shelf-title").textContent);
  renderFilters();
  renderCards(true);
  if (things.length) return;
  showMessage({
    text: t(onagain ? "results.none.yet.lead" : "results.none.lead", { name: store }),
    actions: [onagain && [t("results.again"), onagain], onanyway && [t("results.anyway"), onanyway], [t("results.clear"), onclear]],
  });
}

/** Show what is in a store, or more of it. */
export function showStore(things, { store, more, added = false, onadd }) {
  if (!added) shown.things = [];
  shown.things = [...shown.things, ...things];
  Object.assign(shown, { searching: false, filter: "all" });
  const empty = shown.things.length === 0;
  $("shelf-title").textContent = t(empty ? "browse.empty" : "browse.title", { name: store });
  $("more").hidden = !more;
  renderFilters();
  renderCards(false);
  if (empty) showMessage({ text: t("browse.empty.lead"), actions: [[t("add"), onadd]], inviting: true });
}

/** Show that the server has yet to load what it needs. */
export function showStarting() {
  Object.assign(shown, { things: [], searching: false });
  $("shelf-title").textContent = t("start.title");
  $("more").hidden = true;
  renderFilters();
  renderCards(false);
  showMessage({ text: t("start.lead") });
}

/** Whether the reader is in the middle of something here: has scrolled down, is at a card, or something plays. */
export function isInUse() {
  const playing = [...document.querySelectorAll("[data-cards] :is(audio, video)")].some((one) => !one.paused);
  return playing || window.scrollY > 400 || $("cards").contains(document.activeElement);
}

/** Show that something failed, instead of cards. */
export function showFailure(title, reason, actions = []) {
  Object.assign(shown, { things: [], searching: false });
  $("shelf-title").textContent = title;
  $("more").hidden = true;
  renderFilters();
  renderCards(false);
  showMessage({ text: reason, actions, bad: true });
  announce(`${title}. ${reason}`);
}

/** Take a thing that was deleted off the shelf. */
export function takeOff(id) {
  const cards = [...document.querySelectorAll("[data-cards] article")];
  const at = cards.findIndex((one) => one.dataset.id === id);
  shown.things = shown.things.filter((thing) => thing.id !== id);
  cards[at]?.closest("li").remove();
  if (shown.searching) $("shelf-title").textContent = counted("results.count", shown.things.length);
  const next = cards[at + 1] ?? cards[at - 1];
  (next ?? $("query")).focus();
}

export function showBusy(busy) {
  $("cards").setAttribute("aria-busy", String(busy));
  document.body.toggleAttribute("data-busy", busy);
}

function renderCards(ranked) {
  $("message").hidden = true;
  const visible = shown.things.filter((thing) => shown.filter === "all" || thing.kind === shown.filter);
  $("cards").replaceChildren(...visible.map((thing) => card(thing, shown.actions)));
  $("cards").toggleAttribute("data-ranked", ranked);
  const first = $("cards").querySelector("article");
  if (first) first.tabIndex = 0;
}

function renderFilters() {
  const present = KINDS.filter((kind) => shown.things.some((thing) => thing.kind === kind));
  $("filters").replaceChildren();
  if (!shown.searching || present.length === 0) return;
  $("filters").append(...["all", ...present].map(filterButton));
}

function filterButton(kind) {
  const count = shown.things.filter((thing) => kind === "all" || thing.kind === kind).length;
  const attributes = { type: "button", class: "filter", "aria-pressed": String(shown.filter === kind), dataset: { kind } };
  const button = make("button", attributes, kind === "all" ? null : icon(kind), t(kind === "all" ? "filter.all" : `kind.${kind}`));
  button.append(make("span", { class: "tally" }, number(count)));
  button.addEventListener("click", () => {
    shown.filter = kind;
    renderCards(true);
    for (const other of $("filters").children) other.setAttribute("aria-pressed", String(other === button));
    announce(counted("results.count", count));
  });
  return button;
}

function showMessage({ text, actions = [], bad = false, inviting = false }) {
  const buttons = actions.filter(Boolean).map(([words, act]) => make("button", { type: "button", class: "plain", onclick: act }, words));
  const message = $("message");
  message.hidden = false;
  message.dataset.tone = bad ? "bad" : inviting ? "inviting" : "calm";
  message.replaceChildren(make("p", {}, text));
  if (buttons.length) message.append(make("div", { class: "message-actions" }, ...buttons));
}
