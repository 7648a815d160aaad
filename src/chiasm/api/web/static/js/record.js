// The microphone: press to start, press to stop; the recording becomes the question.

import { $, icon } from "./dom.js";
import { t } from "./i18n.js";
import { toWav } from "./wav.js";

const LONGEST = 60_000; // milliseconds
let recorder = null;

export const recording = () => recorder !== null;

/** Wire the button; onwav gets a Blob, onproblem a sentence. */
export function setUpRecording(onwav, onproblem) {
  $("record").addEventListener("click", async () => {
    if (recorder) recorder.stop();
    else await start(onwav, onproblem);
  });
}

export function stopRecording() {
  recorder?.stop();
}

async function start(onwav, onproblem) {
  if (!navigator.mediaDevices) {
    onproblem(t("record.insecure"));
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch {
    onproblem(t("record.denied"));
    return;
  }
  const pieces = [];
  recorder = new MediaRecorder(stream);
  const tooLong = setTimeout(() => recorder?.stop(), LONGEST);
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  recorder.addEventListener("stop", async () => {
    clearTimeout(tooLong);
    const type = recorder.mimeType;
    recorder = null;
    show(false);
    for (const track of stream.getTracks()) track.stop();
    await finish(new Blob(pieces, { type }), onwav, onproblem);
  });
  recorder.start();
  show(true);
}

async function finish(recorded, onwav, onproblem) {
  if (!recorded.size) {
    onproblem(t("record.empty"));
    return;
  }
  try {
    onwav(await toWav(recorded));
  } catch {
    onproblem(t("record.broken"));
  }
}

function show(active) {
  const button = $("record");
  const key = active ? "search.recording" : "search.record";
  button.setAttribute("aria-pressed", String(active));
  button.dataset.tAriaLabel = key;
  button.dataset.tTitle = key;
  button.setAttribute("aria-label", t(key));
  button.title = t(key);
  button.replaceChildren(icon(active ? "stop" : "mic"));
}
