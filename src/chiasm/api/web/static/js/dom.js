// Elements are only ever made here, and text only ever becomes a text node: a hostile file name stays a name.

export const $ = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";
const SPRITE = new URL("../icons.svg", import.meta.url).pathname;

/** make("a", {class: "x", href: "/", onclick: f, dataset: {kind: "text"}}, child, "text", …) */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SPRITE}#${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon and a name for those who do not see it. */
export function iconButton(name, label, onclick, extra = {}) {
  return make("button", { type: "button", class: "tool", "aria-label": label, title: label, onclick, ...extra }, icon(name));
}

/** Say something to those who listen; the same sentence twice is said twice. */
export function announce(text) {
  const live = $("live");
  live.textContent = live.textContent === text ? `${text}\u00a0` : text;
}
