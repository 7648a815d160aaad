// The models that are served: which there are, which one makes the library's vectors, and how more are brought.

import * as api from "./api.js";
import { $, announce, icon, make } from "./dom.js";
import { bytes, number, percent, t } from "./i18n.js";
import { current, loadStores, nameOf } from "./stores.js";

const LOOK = 500; // milliseconds between looks at a model that is being brought
const UNFINISHED = ["queued", "running"];
// Names to begin with; what they are is asked of the hub when one is chosen.
const KNOWN = {
  "hf:openai/clip-vit-base-patch32": "models.known.clip",
  "hf:OFA-Sys/chinese-clip-vit-base-patch16": "models.known.chinese",
  "hf:google/siglip-base-patch16-224": "models.known.siglip",
  "hf:sentence-transformers/all-MiniLM-L6-v2": "models.known.sentences",
  "hf:BAAI/bge-small-zh-v1.5": "models.known.sentences.zh",
  "hf:laion/clap-htsat-unfused": "models.known.sounds",
};
let served = [];
let offer = null; // what the hub has, waiting to be fetched
let changed = () => {};

/** onchange is called when a library is on its way to another model. */
export function setUpModels(onchange) {
  changed = onchange;
  $("model").addEventListener("click", open);
  $("offer-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (offer) fetchOffer();
    else lookFor($("offer-field").value.trim());
  });
  $("offer-field").addEventListener("input", forget);
}

/** Ask which models there are. */
export async function loadModels() {
  served = (await api.models().catch(() => ({ data: [] }))).data; // the footer can do without
  renderModels();
}

export function renderModels() {
  const [first] = served;
  $("model").hidden = !first;
  if (!first) return;
  $("model").textContent = t(first.licence ? "footer.model" : "footer.model.plain", { name: first.id, licence: first.licence });
  $("offer-known").replaceChildren(...Object.entries(KNOWN).map(([value, key]) => make("option", { value }, t(key))));
  $("models").replaceChildren(...served.map(row));
}

async function open() {
  forget();
  if (!$("models-dialog").open) $("models-dialog").showModal();
  await loadModels();
}

function row(model, position) {
  const store = current();
  const used = store && (store.model ? store.model === model.id : position === 0);
  const facts = [model.licence, (model.languages ?? []).join(", "), model.bytes ? bytes(model.bytes) : null, model.dimensions ? t("models.dimensions", { count: number(model.dimensions) }) : null];
  return make(
    "li",
    { dataset: { model: model.id } },
    make("p", { class: "model-name" }, make("strong", {}, model.id), make("span", { class: "model-state" }, t(`models.${model.status}`))),
    make("p", { class: "model-kinds" }, ...(model.modalities ?? []).map((kind) => make("span", { class: `s-${kind}`, title: t(`kind.${kind}`) }, icon(kind), make("span", { class: "visually-hidden" }, t(`kind.${kind}`))))),
    make("p", { class: "hint" }, facts.filter(Boolean).join(" · ") || t("models.unseen")),
    model.error ? make("p", { class: "problem" }, model.error) : null,
    make("p", { class: "model-actions" }, ...actions(model, position, store, used)),
  );
}

function actions(model, position, store, used) {
  if (used) return [make("span", { class: "model-used" }, t("models.used", { name: nameOf(store) }))];
  const use = store && make("button", { type: "button", class: "plain", onclick: () => useFor(store, model, position) }, t("models.use", { name: nameOf(store) }));
  const drop = model.added && make("button", { type: "button", class: "plain", onclick: () => remove(model) }, t("models.remove"));
  return [use || null, drop || null];
}

async function useFor(store, model, position) {
  await tell(async () => {
    await api.reembed(store.id, position === 0 ? null : model.id);
    announce(t("models.begun", { name: nameOf(store), model: model.id }));
    $("models-dialog").close();
    changed();
  });
}

async function remove(model) {
  await tell(() => api.removeModel(model.id));
  await loadModels();
}

async function lookFor(source) {
  await tell(async () => {
    if (!/^(hf|modelscope):/.test(source)) return added(await api.addModel(source));
    $("offer-words").textContent = t("models.looking");
    const found = await api.modelOffer(source);
    const facts = [bytes(found.bytes), found.licence || t("models.licence.none"), found.languages.join(", "), found.modalities.map((kind) => t(`kind.${kind}`)).join(", ")];
    $("offer-words").textContent = facts.filter(Boolean).join(" · ");
    $("offer-go").textContent = t(found.pulled ? "models.serve" : "models.fetch");
    offer = found;
  });
}

async function fetchOffer() {
  const { source } = offer;
  await tell(async () => {
    let answer = await api.addModel(source);
    while (answer.object === "job" && UNFINISHED.includes(answer.status)) {
      show(answer);
      await new Promise((resolve) => setTimeout(resolve, LOOK));
      answer = await api.job(answer.id);
    }
    if (answer.object === "job" && answer.status !== "completed") throw new Error(answer.error?.message ?? t("models.stopped"));
    await added();
  });
}

function show(job) {
  $("offer-progress").hidden = false;
  if (job.total) {
    $("offer-progress").value = job.progress;
    $("offer-words").textContent = t("models.fetching", { done: bytes(job.done), total: bytes(job.total), share: percent(job.progress) });
  } else $("offer-progress").removeAttribute("value");
}

async function added() {
  $("offer-field").value = "";
  forget();
  await loadModels();
  announce(t("models.added"));
}

/** Do it, with the form at rest meanwhile; what goes wrong is said beside it. */
async function tell(work) {
  $("offer-problem").textContent = "";
  $("offer-go").disabled = true;
  try {
    await work();
  } catch (error) {
    forget();
    $("offer-problem").textContent = error.message;
  } finally {
    $("offer-go").disabled = false;
    $("offer-progress").hidden = true;
  }
}

function forget() {
  offer = null;
  $("offer-words").textContent = "";
  $("offer-problem").textContent = "";
  $("offer-go").textContent = t("models.look");
}

/** The library may have another model now. */
export async function followModels() {
  await loadStores();
  renderModels();
}
