// The two dialogs: add files, confirm a deletion. Native <dialog>: focus and Esc are the browser's.

import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { filesOfInput } from "./intake.js";

export function openAdd(destinationName) {
  $("add-where").textContent = t("add.where", { name: destinationName });
  if (!$("add-dialog").open) $("add-dialog").showModal();
}

/** onfiles gets [{file, name}] of either picker. */
export function setUpAdd(onfiles) {
  for (const [button, input] of [["choose-files", "files-input"], ["choose-folder", "folder-input"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      $("add-dialog").close();
      onfiles(filesOfInput($(input)));
    });
  }
}

/** Whether the reader wants the file gone. */
export function confirmDelete(name, store) {
  $("confirm-text").textContent = t("delete.text", { name, store });
  return answer($("confirm-dialog"));
}

function answer(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
