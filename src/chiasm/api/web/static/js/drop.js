// Dropping and pasting: two places to land on while something is dragged over the page.

import { $ } from "./dom.js";
import { carriesFiles, filesOfDrop } from "./intake.js";

/** onkeep gets [{file, name}]; onask gets one {file, name}; onproblem the error of an unreadable drop. */
export function setUpDrop({ onkeep, onask, onproblem }) {
  let leaving = 0;
  const show = (visible) => {
    $("landing").hidden = !visible;
    if (!visible) mark(null);
  };
  const mark = (zone) => {
    for (const one of $("landing").children) one.toggleAttribute("data-over", one === zone);
  };
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    clearTimeout(leaving);
    show(true);
    mark(event.target.closest?.(".zone"));
  });
  document.addEventListener("dragleave", () => {
    leaving = setTimeout(() => show(false), 120); // it also fires between two elements
  });
  document.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const asking = event.target.closest?.('[data-zone="ask"], .composer') !== null;
    show(false);
    try {
      const files = await filesOfDrop(event.dataTransfer);
      if (asking && files.length === 1) onask(files[0]);
      else onkeep(files);
    } catch (error) {
      onproblem(error);
    }
  });
}

/** onask gets the first file of a paste; pasted words go where the cursor is. */
export function setUpPaste(onask) {
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    onask({ file, name: file.name });
  });
}
