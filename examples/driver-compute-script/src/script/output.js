// Reads the log of an instance, which its keeper writes.
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { timestamp } from '../instar/protocol.js';

const lookEvery = 100; // milliseconds between two looks at a log that is followed

/** Sends the log's lines, the oldest first; with follow until the signal aborts or the instance is destroyed. */
export async function sendOutput(instance, { tail, follow }, { send, signal }) {
  const path = instance.file('log');
  const reader = new Reader(path);
  try {
    let lines = [...await wholeFile(`${path}.1`), ...await reader.more()];
    if (tail > 0) {
      lines = lines.slice(-tail);
    }
    for (;;) {
      for (const { time, stream, text } of lines) {
        await send({ time: timestamp(time), stream, text });
      }
      if (!follow || signal.aborted || instance.gone.signal.aborted) {
        return;
      }
      await delay(lookEvery, null, { signal: AbortSignal.any([signal, instance.gone.signal]) }).catch(() => {});
      lines = await reader.more();
    }
  } finally {
    await reader.close();
  }
}

async function wholeFile(path) {
  const reader = new Reader(path);
  try {
    return await reader.more();
  } finally {
    await reader.close();
  }
}

/** Reads on where it has stopped, also when the keeper has begun another file. */
class Reader {
  constructor(path) {
    this.path = path;
    this.file = null;
    this.rest = Buffer.alloc(0);
  }

  async more() {
    const lines = [];
    for (;;) {
      this.file ??= await openIfThere(this.path);
      if (this.file === null) {
        return lines;
      }
      lines.push(...this.split(await this.file.readFile())); // from where the last one has ended
      const now = await openIfThere(this.path);
      if (now === null || (await now.stat()).ino === (await this.file.stat()).ino) {
        await now?.close();
        return lines;
      }
      lines.push(...this.split(await this.file.readFile())); // written before the other file was begun
      await this.close();
      this.file = now;
    }
  }

  split(data) {
    const whole = Buffer.concat([this.rest, data]);
    const end = whole.lastIndexOf(0x0a) + 1;
    this.rest = whole.subarray(end);
    const text = whole.toString('utf8', 0, end);
    return text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
  }

  async close() {
    await this.file?.close();
    this.file = null;
  }
}

async function openIfThere(path) {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (error.code === 'ENOENT') {
      return null;
    }
    throw error;
  }
}
