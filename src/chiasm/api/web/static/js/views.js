// What is seen (or heard) of a thing on its card.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { contentOf, thumbnailOf } from "./media.js";

const OPENING = 320; // characters of a text's beginning

/** The upper part of a card. */
export function viewOf(thing) {
  if (thing.status === "failed") return make("div", { class: "view blank" }, make("p", {}, t("card.broken", { reason: thing.problem ?? "" })));
  if (thing.status === "in_progress") return make("div", { class: "view blank" }, make("p", {}, t("card.waiting")));
  return make("div", { class: "view" }, ...VIEWS[thing.kind](thing));
}

const VIEWS = {
  text: (thing) => (thing.page ? [picture(thing, thing.name), ...(thing.snippet ? [passage(thing)] : [])] : [passage(thing)]),
  image: (thing) => [thing.box ? framed(picture(thing, thing.name), thing) : picture(thing, thing.name)],
  audio: (thing) => [make("div", { class: "wave" }, picture(thing, "")), player("audio", thing)],
  video: (thing) => [player("video", thing)],
};

function passage(thing) {
  const text = make("p", { class: "passage", dir: "auto" });
  if (thing.snippet) text.textContent = plain(thing.snippet);
  else if (!thing.stored || thing.packed) text.textContent = t("card.no_preview");
  else beginning(thing.id).then((words) => (text.textContent = plain(words)), () => (text.textContent = t("card.no_preview")));
  return text;
}

/** Markdown's marks are noise in so small a place. */
const plain = (words) => words.replace(/^#{1,6}\s+/gm, "").replace(/(\*\*|__)(?=\S)(.+?)\1/g, "$2");

async function beginning(id) {
  const response = await fetch(contentOf(id), { headers: { Range: "bytes=0-2047" } });
  if (!response.ok) throw new Error(String(response.status));
  const reader = response.body.getReader();
  const { value } = await reader.read(); // the first piece is enough, even of a server that ignores ranges
  await reader.cancel();
  const words = new TextDecoder().decode((value ?? new Uint8Array()).subarray(0, 2048)).replace(/\ufffd+$/, "");
  return words.length > OPENING ? `${words.slice(0, OPENING)}…` : words;
}

function picture(thing, alt) {
  const image = make("img", { alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "passage faint" }, t("card.no_preview"))), { once: true });
  image.addEventListener("load", () => (image.dataset.loaded = ""), { once: true });
  image.src = thumbnailOf(thing.id, thing.at, thing.page);
  return image;
}

/** The picture with a frame around the words that were found in it. */
function framed(image, thing) {
  const [left, top, right, bottom] = thing.box.map((share) => 100 * share);
  const frame = make("span", { class: "found-box", title: thing.snippet });
  Object.assign(frame.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  return make("div", { class: "framed" }, image, frame);
}

function player(tag, thing) {
  const element = make(tag, { controls: true, preload: "none", playsinline: true, controlslist: "nodownload noplaybackrate", "aria-label": thing.name });
  if (tag === "video") element.poster = thumbnailOf(thing.id, thing.start);
  element.src = contentOf(thing.id) + (thing.start > 0 ? `#t=${thing.start.toFixed(2)}` : "");
  element.addEventListener("play", () => pauseOthers(element));
  return element;
}

/** Go to a further moment of what a card plays. */
export function playAt(article, seconds) {
  const element = article.querySelector("audio, video");
  element.currentTime = seconds;
  element.play();
}

function pauseOthers(playing) {
  for (const other of document.querySelectorAll("audio, video")) if (other !== playing) other.pause();
}
