// The driver: what the daemon calls. Its methods are those of DriverService and ComputeService; what each
// has to do is in the comments of driver.proto and compute.proto.
import { access, constants, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { conflict, invalidConfig, notFound } from '../instar/failure.js';
import { log } from '../instar/log.js';
import { milliseconds, timestamp } from '../instar/protocol.js';
import { decode, describe, types } from '../instar/schema.js';
import { Artifacts } from './artifacts.js';
import { readJSON } from './files.js';
import { Instance } from './instance.js';
import { Instances } from './instances.js';
import { sendOutput } from './output.js';
import { usageOfSessions } from './proc.js';
import { check, choosePorts, workloadSchema, write } from './workload.js';

const targetSchema = {
  interpreter: {
    type: types.list, default: ['node'],
    doc: 'The program that runs the scripts, and its first arguments; the script and its own follow.',
  },
  bind: { type: types.string, default: '127.0.0.1', doc: 'Address that instances are reached at.' },
};

const probeEvery = 5000; // milliseconds
const nothing = { source: '', checksum: '', digest: '' };

export class ScriptDriver {
  constructor(version) {
    this.version = version;
    this.target = null; // the configuration; null until Configure
    this.instances = null;
    this.artifacts = null;
    this.configuring = Promise.resolve();
  }

  async Describe() {
    return {
      name: 'script',
      version: this.version,
      kind: 'KIND_COMPUTE',
      scope: 'SCOPE_NODE',
      doc: 'Runs scripts: each instance is a process of the interpreter that the target names. The artifact is the script, one file.',
      capabilities: ['artifacts', 'logs', 'usage'],
      target: describe(targetSchema),
      workload: describe(workloadSchema),
    };
  }

  /** Binds the process to its target. Several calls take effect one after the other. */
  Configure(request) {
    const mine = this.configuring.then(() => this.configure(request));
    this.configuring = mine.catch(() => {});
    return mine;
  }

  async configure(request) {
    const target = decode(targetSchema, request.config);
    if (target.interpreter.length === 0) {
      throw invalidConfig('interpreter', 'it has no program');
    }
    if (this.instances === null) {
      const instances = new Instances(request.stateDir);
      const artifacts = new Artifacts(join(request.stateDir, 'artifacts'));
      await artifacts.open();
      await instances.raiseGeneration(request.generation);
      await instances.open();
      Object.assign(this, { instances, artifacts });
    } else {
      await this.instances.raiseGeneration(request.generation);
    }
    this.target = target;
    log('info', 'configured', { target: request.target, instances: this.instances.byId.size });
    return {};
  }

  needTarget() {
    if (this.target === null) {
      throw conflict('the driver is not configured');
    }
  }

  async Probe(_, { send, signal }) {
    this.needTarget();
    for (let last = null; !signal.aborted;) {
      const reason = await missing(this.target.interpreter[0]);
      if (reason !== last) {
        await send({ healthy: reason === '', reason, attributes: { interpreter: this.target.interpreter.join(' ') } });
        last = reason;
      }
      await delay(probeEvery, null, { signal }).catch(() => {});
    }
  }

  async Resolve({ artifact }) {
    this.needTarget();
    return { artifact: await this.artifacts.resolve(artifact ?? nothing) };
  }

  async Fetch({ artifact }) {
    this.needTarget();
    await this.artifacts.fetch(artifact ?? nothing);
  }

  async Create(request) {
    this.needTarget();
    return this.instances.exclusive(request.id, async () => {
      const known = this.instances.byId.get(request.id);
      if (await this.instances.wasDestroyed(request.id)) {
        throw conflict(`instance ${request.id} was destroyed; its id cannot be used again`);
      }
      if (known && known.record.revisionDigest !== request.revisionDigest) {
        throw conflict(`instance ${request.id} exists with revision ${known.record.revision}, and not ${request.revision}`);
      }
      const instance = known ?? await this.make(request);
      await this.start(instance);
      return { instance: await instance.message() };
    });
  }

  /** Writes a new instance, all of it or nothing. */
  async make(request) {
    const config = check(request);
    await this.artifacts.fetch(request.artifact ?? nothing);
    const dir = this.instances.directory(request.id);
    const ports = await this.instances.reserve((taken) => choosePorts(request.ports, this.target.bind, taken));
    try {
      const artifact = this.artifacts.path(request.artifact.digest);
      const record = await write(dir, { request, config, target: this.target, ports, artifact });
      const instance = new Instance(dir, record);
      this.instances.byId.set(request.id, instance);
      return instance;
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    } finally {
      this.instances.release(ports);
    }
  }

  async start(instance) {
    const before = instance.state;
    await instance.start();
    if (instance.exit?.failure) { // nothing has run, so nothing is left, and the same id may be tried again
      await this.instances.remove(instance);
      throw invalidConfig(instance.exit.failure.includes('E2BIG') ? 'env' : 'interpreter', instance.exit.message);
    }
    if (instance.state !== before) {
      await this.instances.tell(instance);
    }
  }

  async Destroy({ id, grace }, { signal }) {
    this.needTarget();
    return this.instances.exclusive(id, async () => {
      signal.throwIfAborted(); // it has waited for another call, and nobody for it
      const instance = this.instances.byId.get(id);
      if (instance) {
        await this.instances.destroy(instance, milliseconds(grace), signal);
      }
      return {};
    });
  }

  find(id) {
    this.needTarget();
    const instance = this.instances.byId.get(id);
    if (!instance) {
      throw notFound(`there is no instance ${id}`);
    }
    return instance;
  }

  async Inspect({ id }) {
    const instance = await this.instances.refresh(this.find(id));
    return { instance: await instance.message() };
  }

  async List({ cluster }) {
    this.needTarget();
    const mine = [...this.instances.byId.values()].filter((instance) => instance.record.cluster === cluster);
    return {
      instances: await Promise.all(mine.map(async (instance) => (await this.instances.refresh(instance)).message())),
    };
  }

  /** Sends the present state of every instance, and then every change. */
  async Watch(_, { send, signal }) {
    this.needTarget();
    const waiting = [];
    let wake = () => {};
    const note = (message) => {
      waiting.push(message);
      wake();
    };
    this.instances.on('change', note); // before the look at the present, so that nothing falls between
    signal.addEventListener('abort', () => wake());
    try {
      for (const instance of [...this.instances.byId.values()]) {
        await send({ instance: await (await this.instances.refresh(instance)).message() });
      }
      while (!signal.aborted) {
        const message = waiting.shift();
        if (message) {
          await send({ instance: message });
        } else {
          await new Promise((resolve) => { wake = resolve; });
        }
      }
    } finally {
      this.instances.off('change', note);
    }
  }

  async Logs({ id, follow, tail }, stream) {
    await sendOutput(this.find(id), { follow, tail }, stream);
  }

  async Usage({ interval }, { send, signal }) {
    this.needTarget();
    while (!signal.aborted) {
      const scripts = new Map();
      for (const instance of this.instances.byId.values()) {
        const script = instance.state === 'RUNNING' ? await readJSON(instance.file('script')) : null;
        if (script) {
          scripts.set(script.pid, instance.record.id);
        }
      }
      const sums = await usageOfSessions([...scripts.keys()]);
      const at = timestamp(Date.now());
      await send({ samples: [...sums].map(([pid, sum]) => ({ id: scripts.get(pid), at, cpuNanos: String(sum.cpuNanos), memory: sum.memory })) });
      await delay(milliseconds(interval), null, { signal }).catch(() => {});
    }
  }

  async Prune({ keep }) {
    this.needTarget();
    const used = [...this.instances.byId.values()].map((instance) => instance.record.artifact);
    return { freed: await this.artifacts.prune(new Set([...keep, ...used])) };
  }

  async ExportArtifact({ digest }, { send }) {
    this.needTarget();
    for await (const data of await this.artifacts.read(digest)) {
      await send({ data });
    }
  }

  async ImportArtifact(messages) {
    this.needTarget();
    await this.artifacts.import(messages);
    return {};
  }
}

/** Why a program cannot be run; empty if it can. */
async function missing(program) {
  const folders = program.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  for (const folder of folders) {
    try {
      await access(join(folder, program), constants.X_OK);
      return '';
    } catch {
      // the next one
    }
  }
  return `there is no program ${program}`;
}
