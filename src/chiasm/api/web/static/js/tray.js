// The panel that tells how uploads are going and which files could not be taken.

import { $, announce, make } from "./dom.js";
import { counted, named, number, t } from "./i18n.js";

let shownErrors = 0;
let wasBusy = false;

export function setUpTray() {
  $("tray-close").addEventListener("click", () => {
    $("tray").hidden = true;
  });
}

export function renderTray(uploads) {
  if (!uploads.total) return;
  if (uploads.busy && !wasBusy) $("tray").hidden = false; // once closed it stays closed until new files come
  wasBusy = uploads.busy;
  $("tray").dataset.busy = String(uploads.busy);
  $("tray-title").textContent = title(uploads);
  $("tray-progress").value = uploads.busy ? uploads.share : 1;
  $("tray-now").textContent = now(uploads);
  if (uploads.failed.length < shownErrors) {
    shownErrors = 0;
    $("tray-errors").replaceChildren();
  }
  for (const { name, reason } of uploads.failed.slice(shownErrors)) {
    $("tray-errors").append(make("li", {}, make("bdi", {}, name), make("span", {}, reason)));
  }
  shownErrors = uploads.failed.length;
  if (!uploads.busy) announce(`${title(uploads)}. ${uploads.failed.map((f) => `${f.name}: ${f.reason}`).join(" ")}`);
}

function title(uploads) {
  const { done, failed, total, busy } = uploads;
  if (busy) return t("tray.busy", { done: number(done + failed.length), total: number(total) });
  if (failed.length) return t("tray.done.failed", { count: number(done), failed: number(failed.length) });
  return counted("tray.done", done);
}

function now(uploads) {
  const [sending] = uploads.sending.keys();
  if (sending !== undefined) return t("tray.uploading", { name: named(sending) });
  if (uploads.busy) return t("tray.indexing", { count: number(uploads.indexing) });
  return uploads.done ? t("tray.ready") : "";
}
