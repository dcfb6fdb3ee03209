// One instance: its directory, its keeper, and what is known of them. In the directory:
//
//   record.json   what it was made from, and its ports; written last: without it, nothing was made
//   script.EXT    a copy of the artifact
//   work/         its working directory, with its mounts
//   start.json    what the keeper starts
//   keeper        who has claimed it: from here on it was started, for ever
//   script        the script's process
//   exit          how it ended
//   log, log.1    what it printed
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { Failure } from '../instar/failure.js';
import { timestamp } from '../instar/protocol.js';
import { claim, readIfThere, readJSON, replace, sha256, sha256File } from './files.js';
import { startKeeper } from './keeper.js';
import { alive, signal } from './proc.js';

const tick = 20; // milliseconds between two looks at something that is about to happen
const startLimit = 20_000;

export class Instance {
  constructor(dir, record) {
    this.dir = dir;
    this.record = record;
    this.state = 'CREATING';
    this.exit = null;
    this.gone = new AbortController(); // aborts when the instance is destroyed
  }

  /** Reads an instance; null if its making was never finished. */
  static async read(dir) {
    const record = await readJSON(join(dir, 'record.json'));
    return record === null ? null : new Instance(dir, record);
  }

  file(name) {
    return join(this.dir, name);
  }

  /** Looks what has become of it. A keeper that was killed takes its script with it. */
  async look() {
    if (this.state === 'EXITED') {
      return this;
    }
    const keeper = await readJSON(this.file('keeper'));
    const lost = keeper !== null && !await alive(keeper);
    this.exit = await readJSON(this.file('exit')); // after the look at the keeper, whose last act it is
    if (this.exit === null && lost) {
      await this.killScript();
      const exit = { code: -1, signal: '', message: 'the process that kept it is gone', at: Date.now() };
      await replace(this.file('exit'), JSON.stringify(exit));
      this.exit = exit;
    }
    if (this.exit !== null) {
      this.state = 'EXITED';
    } else if (keeper !== null && await readIfThere(this.file('script')) !== null) {
      this.state = 'RUNNING';
    }
    return this;
  }

  /** Starts it, unless that was done before, and returns when its script runs or has run. */
  async start() {
    await this.look();
    if (this.state !== 'CREATING') {
      return;
    }
    const errors = openSync(this.file('errors'), 'a', 0o600);
    const child = startKeeper(this.dir, this.record, errors);
    closeSync(errors);
    let failed = null;
    child.once('error', (error) => { failed = error.message; });
    child.once('exit', (code) => { failed = `the keeper ended with status ${code}`; });
    for (const limit = Date.now() + startLimit; this.state === 'CREATING'; await delay(tick)) {
      const claimed = await readIfThere(this.file('keeper')) !== null;
      if ((failed !== null && !claimed) || Date.now() > limit) {
        const words = (await readIfThere(this.file('errors')))?.toString('utf8').trim() ?? '';
        throw new Failure('INTERNAL', `starting ${this.record.id}: ${failed ?? 'no answer from the keeper'}; ${words}`);
      }
      await this.look();
    }
  }

  /**
   * Ends it: SIGTERM, SIGKILL after the grace. Claims it first, so that a keeper on its way starts nothing. When the
   * caller's signal aborts nobody waits for the grace any more, and the next call goes on from there.
   */
  async end(graceMilliseconds, aborted) {
    await claim(this.file('keeper'), JSON.stringify({ pid: 0, started: '', boot: '' }));
    const keeper = await readJSON(this.file('keeper'));
    const running = () => keeper.pid !== 0 && alive(keeper);
    if (await running()) {
      signal(keeper.pid, 'SIGTERM');
    }
    for (const limit = Date.now() + graceMilliseconds; Date.now() < limit && await running();) {
      aborted?.throwIfAborted();
      await delay(tick);
    }
    for (const limit = Date.now() + startLimit; await running(); await delay(tick)) {
      signal(keeper.pid, Date.now() < limit ? 'SIGUSR2' : 'SIGKILL');
    }
    await this.killScript();
  }

  /** Kills the script without its keeper. */
  async killScript() {
    const script = await readJSON(this.file('script'));
    while (script !== null && await alive(script)) {
      signal(-script.pid, 'SIGKILL');
      await delay(tick);
    }
  }

  /** Digests what it was made from, as that is on the disk now: another value means that somebody changed it. */
  async fingerprint() {
    if (this.record.lost) {
      return 'lost'; // nobody knows any more what it was made from
    }
    const parts = [JSON.stringify(this.record.made), await this.digest(this.record.script)];
    for (const mount of this.record.mounts) {
      parts.push(mount.path, String(mount.mode), await this.digest(join('work', mount.path)));
    }
    parts.push(String(await readIfThere(this.file('start.json'))));
    return `sha256:${sha256(JSON.stringify(parts))}`;
  }

  async digest(name) {
    try {
      return await sha256File(this.file(name));
    } catch (error) {
      return error.code; // removed, or made something else
    }
  }

  /** The instance as the protocol has it. */
  async message() {
    const { record, exit } = this;
    const addresses = Object.entries(record.ports).map(([name, port]) => [name, hostPort(record.bind, port)]);
    return {
      id: record.id,
      cluster: record.cluster,
      generation: record.generation,
      service: record.service,
      revision: record.revision,
      revisionDigest: record.revisionDigest,
      state: `INSTANCE_STATE_${this.state}`,
      addresses: Object.fromEntries(addresses),
      fingerprint: await this.fingerprint(),
      created: timestamp(record.created),
      exit: exit && { code: exit.code, signal: exit.signal, message: exit.message, at: timestamp(exit.at) },
    };
  }
}

const hostPort = (host, port) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
