// Files on their way into a store: uploaded three at a time, attached, followed until they are indexed.

import * as api from "./api.js";

const AT_ONCE = 3;
const PATIENCE = [200, 400, 800, 1500, 2500]; // milliseconds between looks while nothing moves

/** Progress of one or more rounds of uploads, until all of them are done. */
export class Uploads {
  constructor(onchange) {
    this.onchange = onchange;
    this.reset();
  }

  reset() {
    this.total = 0;
    this.done = 0;
    this.failed = []; // {name, reason}
    this.sending = new Map(); // name → share of its bytes that has gone
    this.indexing = 0;
    this.running = 0;
  }

  get busy() {
    return this.running > 0;
  }

  /** Uploading counts half, indexing the other half. */
  get share() {
    const finished = this.done + this.failed.length;
    const partial = [...this.sending.values()].reduce((sum, share) => sum + share / 2, this.indexing / 2);
    return this.total ? (finished + partial) / this.total : 0;
  }

  /** Put files into a store; resolves when each is searchable or has failed. */
  async add(store, files) {
    if (!this.busy) this.reset();
    this.running += 1;
    this.total += files.length;
    this.onchange(this);
    const waiting = [...files];
    const indexing = []; // {id, name}, in the order in which the server works
    const sender = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await this.send(store, next, indexing);
    };
    let sent = false;
    const following = this.follow(store, indexing, () => sent);
    await Promise.all(Array.from({ length: AT_ONCE }, sender));
    sent = true;
    await following;
    this.running -= 1;
    this.onchange(this);
  }

  async send(store, { file, name }, indexing) {
    this.sending.set(name, 0);
    this.onchange(this);
    try {
      const { id } = await api.upload(file, name.split("/").pop(), (bytes) => {
        this.sending.set(name, file.size ? Math.min(1, bytes / file.size) : 1);
        this.onchange(this);
      });
      const entry = await api.attachFile(store, id);
      this.indexing += 1;
      if (entry.status === "in_progress") indexing.push({ id, name });
      else this.settle(entry, name);
    } catch (error) {
      this.failed.push({ name, reason: error.message });
    }
    this.sending.delete(name);
    this.onchange(this);
  }

  /** Look at the file that has waited longest until it is done, then at the next. */
  async follow(store, indexing, allSent) {
    let look = 0;
    while (indexing.length || !allSent()) {
      const [next] = indexing;
      const entry = next ? await api.entry(store, next.id).catch((error) => lost(error)) : null;
      if (entry && entry.status !== "in_progress") {
        indexing.shift();
        this.settle(entry, next.name);
        look = 0;
      } else {
        await new Promise((wake) => setTimeout(wake, PATIENCE[Math.min(look, PATIENCE.length - 1)]));
        look += 1;
      }
    }
  }

  settle(entry, name) {
    this.indexing -= 1;
    if (entry.status === "completed") this.done += 1;
    else this.failed.push({ name, reason: entry.last_error?.message ?? entry.status });
    this.onchange(this);
  }
}

/** A file that cannot be asked about any more, because it was deleted or the server went away. */
const lost = (error) => (error.status === 404 ? { status: "failed", last_error: error } : null);
