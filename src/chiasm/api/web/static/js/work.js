// A folder that the server is indexing: how far it is, and the page follows.

import * as api from "./api.js";
import { $, announce } from "./dom.js";
import { number, t } from "./i18n.js";
import { current } from "./stores.js";

const LOOK = 1_000; // milliseconds between looks while there is work
const FOLLOW = 4_000; // between changes of what is shown: a reader needs some rest
const KINDS = ["index_folder", "reembed"];
const UNFINISHED = ["queued", "running"];

let timer = null;
let working = null; // the job of the store that is looked at
let followed = { at: 0, done: 0 };

/** onprogress is called when more can be found; told whether that was all. */
export function setUpWork(onprogress) {
  document.addEventListener("visibilitychange", () => document.hidden || followWork(onprogress));
}

/** Look whether the store that is looked at is being worked on, and again until it is not. */
export async function followWork(onprogress) {
  clearTimeout(timer);
  const mine = (timer = setTimeout(() => {}));
  const job = await unfinished(current()?.id);
  if (mine !== timer) return; // somebody looks anew
  const ended = working && working.id !== job?.id;
  working = job;
  renderWork();
  if (job) timer = setTimeout(followWork, LOOK, onprogress);
  if (ended) announce(t("work.done"));
  if (ended || (job && job.done > followed.done && Date.now() - followed.at > FOLLOW)) {
    followed = { at: Date.now(), done: job?.done ?? 0 };
    onprogress(Boolean(ended));
  }
}

async function unfinished(store) {
  if (!store) return null;
  try {
    const { data } = await api.jobs();
    return data.find((job) => KINDS.includes(job.type) && job.params.store === store && UNFINISHED.includes(job.status)) ?? null;
  } catch {
    return null; // the page does without
  }
}

/** Whether more of the store that is looked at can be found soon. */
export const isBeingIndexed = () => working !== null;

export function renderWork() {
  $("work").hidden = !working;
  if (!working) return;
  const words = working.type === "reembed" ? "work.reembed" : "work.busy";
  $("work-words").textContent = working.total ? t(words, { done: number(working.done), total: number(working.total) }) : t("work.begins");
  if (working.total) $("work-progress").value = working.progress;
  else $("work-progress").removeAttribute("value");
}
