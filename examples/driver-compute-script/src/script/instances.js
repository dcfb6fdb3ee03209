// All instances of one target, in its state directory:
//
//   STATE/generation           the highest generation of the cluster that was seen
//   STATE/artifacts/HEX        files, by their SHA-256
//   STATE/instances/HEX/       one directory for each instance: see instance.js
//   STATE/destroyed/HEX        one empty file for each id that must never come back
//
// HEX of an id is its SHA-256, because an id may hold any character and a file's name may not.
import { EventEmitter } from 'node:events';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { conflict } from '../instar/failure.js';
import { log } from '../instar/log.js';
import { makeDirectory, readIfThere, replace, sha256, syncDirectory } from './files.js';
import { restoreFound } from './found.js';
import { Instance } from './instance.js';

const memory = 30 * 24 * 3600 * 1000; // milliseconds for which a destroyed id is refused
const portLock = Symbol('ports'); // beside the ids, which are strings
const lookEvery = 200; // milliseconds between two looks at what the instances do

export class Instances extends EventEmitter {
  constructor(stateDir) {
    super();
    this.setMaxListeners(0); // as many watchers as the daemon likes
    this.dir = join(stateDir, 'instances');
    this.destroyed = join(stateDir, 'destroyed');
    this.generationFile = join(stateDir, 'generation');
    this.byId = new Map();
    this.locks = new Map();
    this.reserved = new Set(); // ports of instances that are being made
  }

  /** Reads what an earlier process has left, and removes what it had only begun to make. */
  async open() {
    await makeDirectory(this.dir);
    await makeDirectory(this.destroyed);
    await forget(this.destroyed);
    await restoreFound(this.dir);
    for (const name of await readdir(this.dir)) {
      const dir = join(this.dir, name);
      const instance = await Instance.read(dir);
      if (instance === null) {
        await rm(dir, { recursive: true, force: true });
        continue;
      }
      await instance.look();
      this.byId.set(instance.record.id, instance);
    }
    setTimeout(() => this.lookAround(), lookEvery);
  }

  /** Tells watchers of every instance whose state has changed. */
  async lookAround() {
    for (const instance of [...this.byId.values()]) {
      try {
        await this.refresh(instance);
      } catch (error) {
        log('warn', 'looking at an instance', { id: instance.record.id, error: error.message });
      }
    }
    setTimeout(() => this.lookAround(), lookEvery);
  }

  /** Looks at one instance, and tells watchers if its state has changed. */
  async refresh(instance) {
    const before = instance.state;
    await instance.look();
    if (instance.state !== before) {
      await this.tell(instance);
    }
    return instance;
  }

  async tell(instance) {
    if (!instance.gone.signal.aborted) {
      this.emit('change', await instance.message());
    }
  }

  /** Where an instance with this id is, or would be. */
  directory(id) {
    return join(this.dir, sha256(id));
  }

  async wasDestroyed(id) {
    return await readIfThere(join(this.destroyed, sha256(id))) !== null;
  }

  /** Runs one action at a time for each key. */
  async exclusive(key, action) {
    const before = this.locks.get(key) ?? Promise.resolve();
    const mine = before.then(action, action);
    const settled = mine.catch(() => {});
    this.locks.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.locks.get(key) === settled) {
        this.locks.delete(key);
      }
    }
  }

  /**
   * Lets one caller at a time choose ports: it gets those that are taken, and returns those that it has chosen,
   * as an object by name. They are taken until release, by when the instance has to be known.
   */
  reserve(choose) {
    return this.exclusive(portLock, async () => {
      const taken = new Set(this.reserved);
      for (const { record } of this.byId.values()) {
        Object.values(record.ports).forEach((port) => taken.add(port));
      }
      const ports = await choose(taken);
      Object.values(ports).forEach((port) => this.reserved.add(port));
      return ports;
    });
  }

  release(ports) {
    Object.values(ports).forEach((port) => this.reserved.delete(port));
  }

  /** Ends an instance and removes everything but the memory that its id was used. */
  async destroy(instance, grace, signal) {
    const { id } = instance.record;
    await replace(join(this.destroyed, sha256(id)), ''); // first: from now on nobody can create it again
    await instance.end(grace, signal);
    const last = await instance.message();
    await this.remove(instance);
    this.emit('change', { ...last, state: 'INSTANCE_STATE_DESTROYED', exit: null });
  }

  /** Removes an instance that does not run. The record goes first: half a directory is no instance. */
  async remove(instance) {
    await rm(instance.file('record.json'), { force: true });
    await syncDirectory(instance.dir);
    // With more tries, because a keeper that came too late, or a look at the instance, may still write there.
    await rm(instance.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 10 });
    this.byId.delete(instance.record.id);
    instance.gone.abort();
  }

  /** Refuses a daemon that was restored from the past. */
  async raiseGeneration(generation) {
    const seen = BigInt((await readIfThere(this.generationFile))?.toString() ?? '0');
    if (BigInt(generation) < seen) {
      throw conflict(`generation ${generation} of the cluster is older than ${seen}, which was seen before`);
    }
    if (BigInt(generation) > seen) {
      await replace(this.generationFile, String(generation));
    }
  }
}

/** Removes what is older than any call that can still be on its way. */
async function forget(dir) {
  for (const name of await readdir(dir)) {
    const path = join(dir, name);
    if (Date.now() - (await stat(path)).mtimeMs > memory) {
      await rm(path, { force: true });
    }
  }
}
