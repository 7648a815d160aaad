// From a question to results.

import * as api from "./api.js";
import { announce } from "./dom.js";
import { t } from "./i18n.js";
import { leaveBrowsing } from "./browse.js";
import { asked } from "./question.js";
import { showBusy, showFailure, showResults } from "./shelf.js";
import { current, loadStores, nameOf } from "./stores.js";
import { thingOfHit } from "./things.js";
import { isBeingIndexed } from "./work.js";

const MOST = 50; // results, as many as the interface gives
let running = null;

export function stopSearching() {
  running?.abort();
  running = null;
}

/** Ask; anyway also shows what is probably wrong. onclear leads back to the store. */
export async function runSearch(onclear, anyway = false) {
  stopSearching();
  leaveBrowsing();
  const mine = (running = new AbortController());
  document.body.dataset.state = "results";
  showBusy(true);
  announce(t("search.busy"));
  try {
    if (!current()) await loadStores();
    const store = current();
    if (!store) throw new Error(t("browse.empty.lead"));
    const request = { ...(await asked()), max_num_results: MOST };
    if (anyway) request.ranking_options = { score_threshold: 0 };
    const page = await api.search(store.id, request, mine.signal);
    if (running !== mine) return;
    const things = page.data.map(thingOfHit);
    const onanyway = anyway ? null : () => runSearch(onclear, true);
    const onagain = isBeingIndexed() ? () => runSearch(onclear, anyway) : null;
    showResults(things, { store: nameOf(store), onagain, onanyway, onclear });
  } catch (error) {
    if (running !== mine || error.name === "AbortError") return;
    showFailure(t("results.failed"), error.message, [[t("results.clear"), onclear]]);
  } finally {
    if (running === mine) showBusy(false);
  }
}
