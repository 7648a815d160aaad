// The libraries there are, and which one is looked at.

import * as api from "./api.js";
import { $, make } from "./dom.js";
import { number, t } from "./i18n.js";

const SAMPLE = "sample"; // comes with the server; one's own things do not go there
const OWN = "library";
const REMEMBERED = "chiasm_store";
let known = [];
let chosen = null;

export const current = () => known.find((store) => store.id === chosen) ?? null;
export const nameOf = (store) => store?.name || store?.id || OWN;

/** The sample is a showcase: one of each kind in turn says more than the newest first. */
export const isSample = () => current()?.name === SAMPLE;

/** Where added files go: the store that is looked at, unless it is the sample. */
export const destinationName = () => (current() && !isSample() ? nameOf(current()) : OWN);

export async function loadStores() {
  known = await api.stores();
  const wanted = chosen ?? localStorage.getItem(REMEMBERED);
  chosen = (known.find((store) => store.id === wanted) ?? known.find((store) => store.name === OWN) ?? known[0])?.id ?? null;
  render();
}

/** The store for added files, made if there is none. */
export async function destination() {
  const name = destinationName();
  const there = current()?.name === name ? current() : known.find((store) => store.name === name);
  if (there) return there;
  const made = await api.createStore(name);
  known.push(made);
  return made;
}

export function choose(id) {
  chosen = id;
  localStorage.setItem(REMEMBERED, id);
  render();
}

export function renderStores() {
  render();
}

function render() {
  const options = known.map((store) => {
    const count = store.file_counts?.completed ?? 0;
    return make("option", { value: store.id, selected: store.id === chosen }, t("store.files", { name: nameOf(store), count: number(count) }));
  });
  $("store").replaceChildren(...(options.length ? options : [make("option", {}, t("store.none"))]));
  $("store").disabled = options.length === 0;
}
