// The page: which part does what when something happens.

import { setUpAccess } from "./access.js";
import * as api from "./api.js";
import { browse } from "./browse.js";
import { confirmDelete, openAdd, setUpAdd } from "./dialogs.js";
import { $, announce, make } from "./dom.js";
import { setUpDrop, setUpPaste } from "./drop.js";
import { loadLanguage, onLanguage, switchLanguage, t } from "./i18n.js";
import { filesOfInput } from "./intake.js";
import { setUpKeys } from "./keys.js";
import { followModels, loadModels, renderModels, setUpModels } from "./models.js";
import * as question from "./question.js";
import { recording, setUpRecording, stopRecording } from "./record.js";
import { runSearch, stopSearching } from "./search.js";
import { isInUse, setUpShelf, shownThings, showFailure, takeOff } from "./shelf.js";
import { choose, current, destination, destinationName, nameOf, renderStores } from "./stores.js";
import { renderTray, setUpTray } from "./tray.js";
import { Uploads } from "./uploads.js";
import { followWork, renderWork, setUpWork } from "./work.js";

const uploads = new Uploads(renderTray);

const add = () => openAdd(destinationName());

async function home() {
  stopSearching();
  question.clearQuestion();
  remember("");
  document.body.dataset.state = "home";
  await browse(add);
}

async function search() {
  if (question.isEmpty()) return home();
  remember(question.hasBeside() ? "" : question.words());
  return runSearch(home);
}

/** Words that were searched for are in the address, so that "back" and bookmarks work. */
function remember(words) {
  const address = words ? `?q=${encodeURIComponent(words)}` : location.pathname;
  if (address !== (location.search || location.pathname)) history.pushState({}, "", address);
}

async function restore() {
  $("query").value = new URLSearchParams(location.search).get("q") ?? "";
  if (question.words()) await runSearch(home);
  else await home();
}

function ask({ file, name }) {
  const problem = question.askWith(file, name.split("/").pop() || t("search.pasted"));
  if (problem) showFailure(t("results.failed"), problem, [[t("results.clear"), home]]);
  else search();
}

async function keep(files) {
  if (!files.length) {
    announce(t("drop.nothing"));
    return;
  }
  try {
    const store = await destination();
    if (store.id !== current()?.id) choose(store.id);
    await uploads.add(store.id, files);
  } catch (error) {
    showFailure(t("browse.failed"), error.message);
    return;
  }
  if (document.body.dataset.state === "home") await browse(add);
  else await refresh();
}

/** The same question again, or the store again, after something has changed. */
async function refresh() {
  if (document.body.dataset.state === "results" && !question.isEmpty()) await runSearch(home);
  else await browse(add);
}

/** Show what has been indexed meanwhile, unless that would disturb. */
function catchUp(finished) {
  if (finished) followModels();
  const results = document.body.dataset.state === "results";
  if (uploads.busy || isInUse() || (results && shownThings().length)) return;
  if (!results) browse(add, { quietly: true });
  else if (finished) refresh();
}

async function remove(thing) {
  const store = current();
  if (!(await confirmDelete(thing.name, nameOf(store)))) return;
  try {
    await api.detachFile(store.id, thing.id);
    await api.deleteFile(thing.id).catch((error) => {
      if (error.status !== 404) throw error; // it went with its last store
    });
    takeOff(thing.id);
    announce(t("delete.done", { name: thing.name }));
  } catch (error) {
    showFailure(t("delete.failed", { name: thing.name, reason: error.message }), "", [[t("results.clear"), home]]);
  }
}

function like(thing) {
  question.askLike(thing);
  window.scrollTo({ top: 0 });
  $("shelf-title").focus({ preventScroll: true });
  runSearch(home);
}

function renderSuggestions() {
  const buttons = t("suggestions.list").split("|").map((words) => {
    const onclick = () => {
      question.clearQuestion();
      $("query").value = words;
      search();
    };
    return make("button", { type: "button", class: "suggestion", onclick }, words);
  });
  $("suggestions").replaceChildren(...buttons);
}

function wire() {
  const show = (problem) => showFailure(t("results.failed"), problem, [[t("results.clear"), home]]);
  setUpShelf({ like, remove });
  setUpTray();
  setUpWork(catchUp);
  setUpModels(() => followWork(catchUp));
  setUpAdd(keep);
  setUpRecording((wav) => ask({ file: new File([wav], t("search.recorded"), { type: wav.type }), name: t("search.recorded") }), show);
  setUpDrop({ onkeep: keep, onask: ask, onproblem: (error) => show(error.message) });
  setUpPaste(ask);
  setUpKeys(() => {
    if (recording()) stopRecording();
    else if (document.body.dataset.state === "results" || !question.isEmpty()) home().then(() => $("query").focus());
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  $("attach").addEventListener("click", () => $("query-file").click());
  $("query-file").addEventListener("change", () => filesOfInput($("query-file")).slice(0, 1).forEach(ask));
  $("add").addEventListener("click", add);
  $("more").addEventListener("click", () => browse(add, { more: true }));
  $("language").addEventListener("click", switchLanguage);
  $("store").addEventListener("change", () => {
    choose($("store").value);
    refresh();
    followWork(catchUp);
  });
  window.addEventListener("popstate", restore);
  onLanguage(() => [renderSuggestions, renderModels, renderStores, renderWork, () => renderTray(uploads)].forEach((render) => render()));
}

async function start() {
  wire();
  await loadLanguage();
  await setUpAccess();
  await browse(add);
  followWork(catchUp);
  onLanguage(refresh);
  if (location.search) await restore();
  await loadModels();
  document.body.dataset.ready = "";
}

start();
