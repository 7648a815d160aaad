// The key that a server may ask for: kept for this tab only, sent with every call, and exchanged for a short-lived
// pass (a cookie that scripts cannot read) with which pictures and players load what they show.

import { $ } from "./dom.js";
import { language, t } from "./i18n.js";

const KEPT_AS = "chiasm_key";
const RENEWAL = 30 * 60 * 1_000; // milliseconds; a pass lasts an hour

let asking = null;
let declined = false;

/** The header that a call carries; none while no key was given. */
export function authorization() {
  const key = sessionStorage.getItem(KEPT_AS);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** With the key of before, if there is one: get a new pass, now and from time to time. */
export async function setUpAccess() {
  setInterval(renew, RENEWAL);
  document.addEventListener("visibilitychange", () => document.hidden || renew());
  await renew();
}

/** Ask the reader for a key; true once the server has taken one, false when they would not. Asked once for all. */
export function askForKey() {
  if (declined) return Promise.resolve(false);
  asking ??= prompt().finally(() => (asking = null));
  return asking;
}

/** Somebody who would not give a key has changed their mind. */
export const mayAskAgain = () => (declined = false);

async function renew() {
  const key = sessionStorage.getItem(KEPT_AS);
  if (key && (await enter(key)) === 401) sessionStorage.removeItem(KEPT_AS);
}

/** The status of the server's answer to a key; 0 without an answer. */
async function enter(key) {
  try {
    const headers = { Authorization: `Bearer ${key}`, "Accept-Language": language() };
    return (await fetch("/v1/session", { method: "POST", headers })).status;
  } catch {
    return 0;
  }
}

function prompt() {
  const dialog = $("key-dialog");
  const field = $("key-field");
  return new Promise((resolve) => {
    const onsubmit = async (event) => {
      event.preventDefault();
      const key = field.value.trim();
      const status = isSendable(key) ? await enter(key) : 401;
      if (status === 200) {
        sessionStorage.setItem(KEPT_AS, key);
        dialog.close("entered");
      } else {
        $("key-problem").textContent = problem(status);
        field.select();
      }
    };
    const onclose = () => {
      $("key-form").removeEventListener("submit", onsubmit);
      field.value = "";
      declined = dialog.returnValue !== "entered";
      resolve(!declined);
    };
    $("key-form").addEventListener("submit", onsubmit);
    $("key-cancel").onclick = () => dialog.close("");
    dialog.addEventListener("close", onclose, { once: true });
    $("key-problem").textContent = "";
    dialog.returnValue = "";
    dialog.showModal();
  });
}

/** Headers take no other signs; what has them is no key. */
const isSendable = (key) => /^[\x21-\x7e]+$/.test(key);

function problem(status) {
  if (status === 401) return t("key.wrong");
  return status === 0 ? t("error.network") : t("error.unknown", { status });
}
