// Files out of a drop, a paste or a picker; folders are walked to their leaves.

const SKIP = /(^|\/)(\.|Thumbs\.db$|desktop\.ini$|__MACOSX\/)/;

/** All files of a drop. Must be called while the event is being handled: entries vanish afterwards. */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return keep([...transfer.files].map((file) => ({ file, name: file.name })));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return keep(found);
}

/** All files of an <input type="file">, folders included. */
export function filesOfInput(input) {
  const found = [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  input.value = ""; // so that the same choice can be made again
  return keep(found);
}

export const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

const keep = (found) => found.filter(({ name }) => !SKIP.test(name));

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives at most 100 entries at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await walk(inner, found);
  }
}
