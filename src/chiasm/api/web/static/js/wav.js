// Whatever the browser recorded becomes WAV, 16 kHz, mono, 16 bit: what every server decodes.

const RATE = 16_000;

/** A recording in any format that the browser knows → a Blob of audio/wav. */
export async function toWav(blob) {
  const context = new OfflineAudioContext(1, 1, RATE); // decodes, and resamples to its own rate
  const decoded = await context.decodeAudioData(await blob.arrayBuffer());
  return encodeWav(mixDown(decoded), RATE);
}

function mixDown(buffer) {
  const mono = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < mono.length; i += 1) mono[i] += samples[i] / buffer.numberOfChannels;
  }
  return mono;
}

/** Samples in [-1, 1] → a Blob of audio/wav. */
export function encodeWav(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const ascii = (at, text) => [...text].forEach((c, i) => bytes.setUint8(at + i, c.charCodeAt(0)));
  ascii(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  ascii(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // one channel
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  ascii(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => {
    const bounded = Math.max(-1, Math.min(1, sample));
    bytes.setInt16(44 + 2 * i, Math.round(bounded * 32_767), true);
  });
  return new Blob([bytes], { type: "audio/wav" });
}
