// What is being asked: words, or a picture, a sound, a clip or a known file, or words together with one of them.

import { $, iconButton, icon, make } from "./dom.js";
import { t } from "./i18n.js";
import { kindOf, thumbnailOf } from "./media.js";

const MEGABYTE = 1 << 20;
const LARGEST = 40 * MEGABYTE; // base64 makes it a third longer, and servers take 64 MB of JSON

/** One more than words: {kind, name, blob} or {kind, name, like: id}. */
let beside = null;

export const words = () => $("query").value.trim();
export const isEmpty = () => !words() && !beside;
export const hasBeside = () => beside !== null;

/** Ask with a file. Gives a sentence when it cannot be asked with. */
export function askWith(blob, name) {
  const kind = kindOf(blob.type, name);
  if (kind === "text") return t("media.unknown", { name });
  if (blob.size > LARGEST) return t("media.large", { name, limit: LARGEST / MEGABYTE });
  show({ kind, name, blob });
  return null;
}

/** Ask for what is like a known file. */
export function askLike(thing) {
  $("query").value = "";
  show({ kind: thing.kind, name: t("search.like", { name: thing.name.split("/").pop() }), like: thing.id });
}

export function clearQuestion() {
  $("query").value = "";
  show(null);
}

/** The part of a search request that says what to look for. */
export async function asked() {
  if (!beside) return { query: words() };
  if (beside.like && !words()) return { like: beside.like };
  const part = beside.like ? { type: "file", file: { file_id: beside.like } } : await mediaPart(beside);
  return { query: words() ? { content: [{ type: "text", text: words() }, part] } : part };
}

async function mediaPart({ kind, blob }) {
  const type = `${kind}_url`;
  return { type, [type]: { url: await dataUrl(blob) } };
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

function show(next) {
  if (beside?.address) URL.revokeObjectURL(beside.address);
  beside = next;
  const place = $("asked");
  place.hidden = !next;
  document.body.dataset.asking = next?.kind ?? "";
  if (!next) {
    place.replaceChildren();
    return;
  }
  const remove = iconButton("close", t("search.remove", { name: next.name }), () => {
    show(null);
    $("query").focus();
  });
  place.replaceChildren(preview(next), make("bdi", { class: "asked-name" }, next.name), remove);
}

function preview(next) {
  if (next.blob) next.address = URL.createObjectURL(next.blob);
  if (next.kind === "image") {
    const image = make("img", { alt: "" });
    image.src = next.like ? thumbnailOf(next.like) : next.address;
    return image;
  }
  if (next.kind === "audio" && next.blob) return make("audio", { controls: true, src: next.address });
  return make("span", { class: "asked-kind" }, icon(next.kind));
}
