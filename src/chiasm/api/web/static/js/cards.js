// A card: what a thing looks like, what it is called, how well it fits, and what can be done with it.

import { iconButton, icon, make } from "./dom.js";
import { clock, percent, t } from "./i18n.js";
import { contentOf } from "./media.js";
import { playAt, viewOf } from "./views.js";

/** One card; actions: {like(thing), remove(thing)}. */
export function card(thing, actions) {
  const name = thing.name.split("/").pop();
  const article = make(
    "article",
    { class: "card", tabindex: "-1", dataset: { kind: thing.kind, id: thing.id, status: thing.status }, "aria-label": label(thing) },
    viewOf(thing),
    make(
      "div",
      { class: "about" },
      make("h3", { title: thing.name }, make("bdi", {}, name)),
      thing.score === undefined ? null : fit(thing),
      facts(thing),
      buttons(thing, actions),
    ),
  );
  article.addEventListener("keydown", (event) => {
    if (event.target !== article) return;
    if (event.key === "Enter") article.querySelector("a")?.click();
    else if (event.key === "Delete") actions.remove(thing);
    else return;
    event.preventDefault();
  });
  article.querySelector(".about").append(...moments(thing, article));
  return make("li", {}, article);
}

function buttons(thing, actions) {
  return make(
    "div",
    { class: "actions" },
    thing.status === "completed" ? iconButton("like", t("card.like"), () => actions.like(thing)) : null,
    thing.stored ? original(thing) : null,
    iconButton("trash", t("card.delete"), () => actions.remove(thing)),
  );
}

function original(thing) {
  const name = t("card.open");
  const attributes = { class: "tool", href: contentOf(thing.id) + (thing.page ? `#page=${thing.page}` : ""), target: "_blank", rel: "noopener", "aria-label": name, title: name };
  return make("a", attributes, icon("open"));
}

/** Further places in the same recording or video. */
function moments(thing, article) {
  if (!thing.moments.length) return [];
  const buttons = thing.moments.map((seconds) =>
    make("button", { type: "button", class: "moment-button", onclick: () => playAt(article, seconds) }, clock(seconds)),
  );
  return [make("p", { class: "moments" }, t("card.moments"), ...buttons)];
}

function label(thing) {
  const named = t("card.named", { kind: t(`one.${thing.kind}`), name: thing.name });
  return thing.score === undefined ? named : `${named}, ${t("results.score", { percent: percent(thing.score) })}`;
}

function facts(thing) {
  const line = make("p", { class: "facts" }, icon(thing.kind), make("span", {}, t(`one.${thing.kind}`)));
  if (thing.page && thing.score !== undefined) line.append(make("span", { class: "moment" }, t("results.page", { page: thing.page })));
  else if (thing.start > 0) line.append(make("span", { class: "moment" }, t("results.at", { time: clock(thing.start) })));
  if (thing.twins) line.append(make("span", { class: "twins" }, t("results.twins", { count: thing.twins })));
  return line;
}

function fit(thing) {
  const words = [t("results.score", { percent: percent(thing.score) })];
  if (Number.isFinite(thing.cosine)) words.push(t("results.cosine", { cosine: thing.cosine.toFixed(3) }));
  const bar = make("span", { class: "fit-bar", "aria-hidden": "true" });
  bar.style.setProperty("--fit", String(thing.score));
  return make("span", { class: "fit", title: words.join("\n") }, bar, percent(thing.score));
}
