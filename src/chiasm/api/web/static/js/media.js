// Where a file's content and picture are, and what kind of content a name or a MIME type suggests.

const SIDE = 512; // pixels asked of a thumbnail: sharp on dense screens too

export const contentOf = (id) => `/v1/files/${encodeURIComponent(id)}/content`;

/** The picture of a file, or of the moment (in seconds) or the page that was found in it. */
export function thumbnailOf(id, at, page) {
  const moment = page ? `&page=${page}` : at > 0 ? `&at=${at.toFixed(2)}` : "";
  return `/v1/files/${encodeURIComponent(id)}/thumbnail?side=${SIDE}${moment}`;
}

const EXTENSIONS = {
  image: ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"],
  audio: ["wav", "mp3", "flac", "ogg", "oga", "opus", "m4a", "aac"],
  video: ["mp4", "webm", "mkv", "mov", "avi", "m4v"],
};

/** The modality that a MIME type or a name suggests; the server looks at the content itself. */
export function kindOf(mime, name = "") {
  const major = (mime ?? "").split("/")[0];
  if (major in EXTENSIONS) return major;
  const extension = name.split(".").pop().toLowerCase();
  return Object.keys(EXTENSIONS).find((kind) => EXTENSIONS[kind].includes(extension)) ?? "text";
}
