// Every call to /v1 that the page makes. Errors come back in the reader's language.

import { askForKey, authorization } from "./access.js";
import { language, t } from "./i18n.js";

export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const headers = (extra = {}) => ({
  Accept: "application/json",
  "Accept-Language": language() === "zh" ? "zh-CN, zh" : "en",
  ...authorization(),
  ...extra,
});

function failure(status, text) {
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    error = undefined; // not JSON: a proxy's page, most likely
  }
  return new ApiError(error?.message ? plain(error) : t("error.unknown", { status }), status, error?.code);
}

/** The message without the name of the field that a program would have to mend; a reader knows what they gave. */
function plain({ message, param }) {
  const words = param && message.startsWith(param) ? message.slice(param.length).replace(/^[:：]\s*/, "") : message;
  return words || message;
}

async function call(method, path, { json, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: headers(json === undefined ? {} : { "Content-Type": "application/json" }),
      body: json === undefined ? undefined : JSON.stringify(json),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(t("error.network"), 0);
  }
  const text = await response.text();
  if (response.status === 401 && (await askForKey())) return call(method, path, { json, signal });
  if (!response.ok) throw failure(response.status, text);
  return text ? JSON.parse(text) : null;
}

const enc = encodeURIComponent;
const inStore = (store, rest) => `/v1/vector_stores/${enc(store)}/${rest}`;

export const jobs = () => call("GET", "/v1/jobs?limit=20");
export const job = (id) => call("GET", `/v1/jobs/${enc(id)}`);
export const models = () => call("GET", "/v1/models");
export const modelOffer = (source) => call("GET", `/v1/model_offers?source=${enc(source)}`);
export const addModel = (source) => call("POST", "/v1/models", { json: { source } });
export const removeModel = (name) => call("DELETE", `/v1/models/${enc(name)}`);
export const reembed = (store, model) => call("POST", inStore(store, "reembed"), { json: { model } });
export const createStore = (name) => call("POST", "/v1/vector_stores", { json: { name } });
export const attachFile = (store, id) => call("POST", inStore(store, "files"), { json: { file_id: id } });
export const entry = (store, id) => call("GET", inStore(store, `files/${enc(id)}`));
export const detachFile = (store, id) => call("DELETE", inStore(store, `files/${enc(id)}`));
export const deleteFile = (id) => call("DELETE", `/v1/files/${enc(id)}`);
export const search = (store, request, signal) => call("POST", inStore(store, "search"), { json: request, signal });

export function listFiles(store, after, { limit = 24, order = "desc" } = {}) {
  return call("GET", inStore(store, `files?limit=${limit}&order=${order}${after ? `&after=${enc(after)}` : ""}`));
}

export async function stores() {
  const found = [];
  for (let after = ""; ; ) {
    const page = await call("GET", `/v1/vector_stores?limit=100&order=asc${after && `&after=${enc(after)}`}`);
    found.push(...page.data);
    if (!page.has_more || !page.last_id) return found;
    after = page.last_id;
  }
}

/** Upload one file; onprogress gets the bytes sent so far. (fetch cannot tell that.) */
export function upload(blob, name, onprogress) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("purpose", "user_data");
    form.append("file", blob, name);
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/files");
    for (const [header, value] of Object.entries(headers())) request.setRequestHeader(header, value);
    request.upload.addEventListener("progress", (event) => onprogress(event.loaded));
    request.addEventListener("error", () => reject(new ApiError(t("error.network"), 0)));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(failure(request.status, request.responseText));
    });
    request.send(form);
  });
}
