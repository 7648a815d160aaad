// What is in the store that is looked at, page by page.

import { mayAskAgain } from "./access.js";
import * as api from "./api.js";
import { t } from "./i18n.js";
import { showBusy, showFailure, showStarting, showStore } from "./shelf.js";
import { current, isSample, loadStores, nameOf } from "./stores.js";
import { thingOfEntry } from "./things.js";

const SHOWCASE = { limit: 100, order: "asc" };
let last = null;
let turn = 0; // answers to what is no longer asked are dropped

export function leaveBrowsing() {
  turn += 1;
}

const AGAIN = 1_000; // milliseconds until a server that is starting is asked again

/** Show the store from its beginning, or (more) the next page of it; quietly: without dimming what is there. */
export async function browse(onadd, { more = false, quietly = false } = {}) {
  const mine = (turn += 1);
  if (!quietly) showBusy(true);
  try {
    if (!more) await loadStores();
    const store = current();
    const page = store ? await api.listFiles(store.id, more ? last : undefined, isSample() ? SHOWCASE : {}) : { data: [], has_more: false };
    if (mine !== turn) return;
    const things = page.data.map(thingOfEntry);
    last = page.last_id;
    showStore(isSample() ? inTurn(things) : things, { store: nameOf(store), more: page.has_more, added: more, onadd });
  } catch (error) {
    if (mine !== turn) return;
    if (error.status === 401) showFailure(t("browse.failed"), t("key.needed"), [[t("key.enter"), () => enter(onadd)]]);
    else if (error.status !== 503) showFailure(t("browse.failed"), error.message);
    else {
      showStarting();
      await new Promise((wake) => setTimeout(wake, AGAIN));
      if (mine === turn) await browse(onadd, { more });
    }
  } finally {
    if (mine === turn) showBusy(false);
  }
}

function enter(onadd) {
  mayAskAgain();
  return browse(onadd);
}

/** One of each kind in turn, as long as there are any. */
function inTurn(things) {
  const rows = new Map();
  const turnOf = (thing) => rows.set(thing.kind, (rows.get(thing.kind) ?? -1) + 1).get(thing.kind);
  return things
    .map((thing) => ({ thing, turn: turnOf(thing) }))
    .sort((a, b) => a.turn - b.turn)
    .map(({ thing }) => thing);
}
