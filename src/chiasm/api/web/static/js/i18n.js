// Two languages, one JSON file each. The server has rendered the first one; this can change it in place.

const ATTRIBUTES = ["aria-label", "title", "placeholder"];
let wording = {};
const listeners = new Set();

export const language = () => document.documentElement.dataset.language;

/** The string for a key, with {names} filled in. */
export function t(key, values = {}) {
  const template = wording[key] ?? key;
  return template.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** t("results.count", {count}) with its form for one, where the language has one. */
export const counted = (key, count, values = {}) =>
  t(count === 1 && wording[`${key}.one`] ? `${key}.one` : key, { ...values, count: number(count) });

export const number = (value) => new Intl.NumberFormat(document.documentElement.lang).format(value);

export const percent = (value) =>
  new Intl.NumberFormat(document.documentElement.lang, { style: "percent" }).format(value);

/** 605247102 → "605 MB" */
export function bytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  const style = { style: "unit", unit: units[power], unitDisplay: "short", maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(document.documentElement.lang, style).format(value / 1000 ** power);
}

/** 75.4 → "1:15" */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** A file name in a sentence, kept apart from the sentence's direction of writing. */
export const named = (name) => `\u2068${name}\u2069`;

export function onLanguage(listener) {
  listeners.add(listener);
}

export async function loadLanguage(code = language()) {
  const response = await fetch(`/web/translations/${code}.json`);
  if (!response.ok) return;
  wording = await response.json();
  document.documentElement.dataset.language = code;
  document.documentElement.lang = code === "zh" ? "zh-Hans" : "en";
  document.title = t("page.title");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const name of ATTRIBUTES) {
    for (const element of document.querySelectorAll(`[data-t-${name}]`)) {
      element.setAttribute(name, t(element.getAttribute(`data-t-${name}`)));
    }
  }
  for (const listener of listeners) listener();
}

export async function switchLanguage() {
  const code = language() === "zh" ? "en" : "zh";
  document.cookie = `chiasm_language=${code}; path=/; max-age=31536000; samesite=strict`;
  await loadLanguage(code);
}
