// One shape for what a search finds and what a store lists.

import { kindOf } from "./media.js";

const PDF = "application/pdf";
const KINDS = ["text", "image", "audio", "video"];

/** A hit of /search. */
export function thingOfHit(hit) {
  const { media } = hit;
  // words that were read in a picture stand for it
  const kind = media.box && media.page === null ? kindOf(media.mime, hit.filename) : known(media.modality, media.mime, hit.filename);
  const timed = kind === "audio" || kind === "video";
  return {
    id: hit.file_id,
    name: hit.filename,
    kind,
    stored: media.url !== null, // items with vectors of their own have no content
    status: "completed",
    score: hit.score,
    cosine: media.cosine,
    snippet: hit.content.map((part) => part.text).join("\n"),
    start: timed ? (media.start ?? undefined) : undefined,
    at: kind === "text" ? undefined : (media.start ?? undefined), // where its picture is: seconds, or characters of a document
    twins: media.duplicates.length, // files that are nearly the same
    box: media.box ?? undefined, // where those words are: left, top, right, bottom as shares
    page: media.page ?? undefined, // of a document; its picture then stands for it
    moments: timed ? media.others.map((other) => other.start).filter(Number.isFinite) : [],
  };
}

/** An entry of /vector_stores/{id}/files. */
export function thingOfEntry(entry) {
  return {
    id: entry.id,
    name: entry.filename,
    kind: known(entry.modality, entry.mime, entry.filename),
    stored: entry.item_id === null,
    status: entry.status,
    problem: entry.last_error?.message,
    page: entry.mime === PDF ? 1 : undefined,
    packed: entry.mime !== PDF && entry.mime?.startsWith("application/"), // its bytes are nothing to read
    moments: [],
  };
}

const known = (modality, mime, name) => (KINDS.includes(modality) ? modality : kindOf(mime, name));
