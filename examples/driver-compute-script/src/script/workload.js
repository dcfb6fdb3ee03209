// From a request to create an instance to what is written for it: ports, environment, mounts, command.
import { copyFile, mkdir, writeFile, chmod } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, extname, join } from 'node:path';

import { conflict, invalidConfig, unsupported } from '../instar/failure.js';
import { milliseconds } from '../instar/protocol.js';
import { decode, expand, types } from '../instar/schema.js';
import { makeDirectory, replace, sha256 } from './files.js';

/** What a service's compute block may have. */
export const workloadSchema = {
  args: {
    type: types.list, default: [],
    doc: 'Arguments of the script. ${port.NAME} and ${instance.id} are replaced.',
  },
};

/** Checks a request, so that one that cannot work leaves nothing behind. */
export function check(request) {
  if (request.id === '') {
    throw invalidConfig('id', 'an instance needs an id');
  }
  const config = decode(workloadSchema, request.config);
  if (Number(request.resources?.cpu ?? 0) > 0 || Number(request.resources?.memory ?? 0) > 0) {
    throw unsupported('this driver cannot limit the cpu and memory of a script; the driver "process" can');
  }
  for (const { path } of request.mounts) {
    if (path === '' || path.startsWith('/') || path.includes('\0') || path.split('/').some((part) => ['', '.', '..'].includes(part))) {
      throw invalidConfig('mounts', `${JSON.stringify(path)} is not a path within the instance's working directory`);
    }
  }
  for (const [name, value] of Object.entries(request.env)) {
    if (!/^[^=\0]+$/.test(name) || value.includes('\0')) {
      throw invalidConfig('env', `${JSON.stringify(name)} cannot be in an environment with this value`);
    }
  }
  render(request, config, Object.fromEntries(request.ports.map((port) => [port.name, 1]))); // finds wrong placeholders
  return config;
}

/** Replaces the placeholders of arguments and environment. */
function render(request, config, ports) {
  const known = { id: request.id, ports };
  const args = config.args.map((arg, n) => expand(arg, `args[${n}]`, known));
  if (args.some((arg) => arg.includes('\0'))) {
    throw invalidConfig('args', 'an argument cannot hold a zero byte');
  }
  const env = Object.fromEntries(Object.entries(request.env).map(([name, value]) => [name, expand(value, `env.${name}`, known)]));
  return { args, env };
}

/** Gives each port its number. One that another instance of this target has is never given twice. */
export async function choosePorts(wanted, bind, taken) {
  const ports = {};
  for (const { name, number } of wanted) {
    if (number !== 0 && taken.has(number)) {
      throw conflict(`port ${number} is used by another instance`);
    }
    let chosen = number;
    while (chosen === 0 || (number === 0 && taken.has(chosen))) {
      chosen = await freePort(bind);
    }
    ports[name] = chosen;
    taken.add(chosen);
  }
  return ports;
}

function freePort(bind) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, bind, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Writes everything that an instance is made of into its directory, the record last; returns the record. */
export async function write(dir, { request, config, target, ports, artifact }) {
  const { args, env } = render(request, config, ports);
  await makeDirectory(join(dir, 'work'));
  const script = `script${extname(request.artifact.source)}`; // interpreters look at the ending
  await copyFile(artifact, join(dir, script));
  for (const mount of request.mounts) {
    const path = join(dir, 'work', mount.path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, mount.data);
    await chmod(path, mount.mode || 0o444);
  }
  const start = { command: [...target.interpreter, join(dir, script), ...args], env: { ...standard(request, ports), ...env } };
  await replace(join(dir, 'start.json'), JSON.stringify(start));
  const { id, cluster, generation, service, revision, revisionDigest } = request;
  const record = {
    format: 1, id, cluster, generation, service, revision, revisionDigest, script, ports,
    bind: target.bind,
    created: Date.now(),
    artifact: request.artifact.digest,
    grace: milliseconds(request.grace),
    mounts: request.mounts.map(({ path, mode }) => ({ path, mode })),
    made: sha256(JSON.stringify([config, request.env, request.ports, request.artifact.digest])),
  };
  await replace(join(dir, 'record.json'), JSON.stringify(record));
  return record;
}

/** The variables that every instance has. */
function standard(request, ports) {
  const env = {
    INSTAR_INSTANCE: request.id, INSTAR_SERVICE: request.service, INSTAR_REVISION: String(request.revision),
  };
  for (const name of ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR']) {
    if (process.env[name]) {
      env[name] = process.env[name];
    }
  }
  for (const [name, port] of Object.entries(ports)) {
    env[`INSTAR_PORT_${name.toUpperCase().replaceAll('-', '_')}`] = String(port);
  }
  return env;
}
