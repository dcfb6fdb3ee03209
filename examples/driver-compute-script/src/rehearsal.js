// What a driver does in its first second, done once when it is built: the engine compiles a function when it
// is first called, so only what was called is in the code that the build keeps.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, makeGenericClientConstructor, Server, ServerCredentials } from '@grpc/grpc-js';

import { openLog } from './instar/log.js';
import { services } from './instar/protocol.js';
import { addServices } from './instar/serve.js';
import { ScriptDriver } from './script/driver.js';

/** Serves a driver, makes one instance of a script by it, looks at it, and destroys it. */
export async function rehearse(script) {
  openLog(null, 'error');
  const dir = mkdtempSync(join(tmpdir(), 'rehearsal-'));
  const driver = new ScriptDriver('');
  const server = new Server();
  addServices(server, driver, 'compute', driver, () => {});
  try {
    const port = await new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    await lifeOfAnInstance(`127.0.0.1:${port}`, dir, script);
  } finally {
    server.forceShutdown();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function lifeOfAnInstance(address, dir, script) {
  const client = (service) => new (makeGenericClientConstructor(services[service], service))(address, credentials.createInsecure());
  const [driver, compute, health] = ['driver', 'compute', 'health'].map(client);
  await call(health, 'Check', { service: 'plugin' });
  await call(driver, 'Describe', {});
  const config = Buffer.from(JSON.stringify({ interpreter: [process.execPath] }));
  await call(driver, 'Configure', { target: 'rehearsal', generation: 1, stateDir: dir, config });
  await first(driver, 'Probe', {});
  const { artifact } = await call(compute, 'Resolve', { artifact: { source: script } });
  await first(compute, 'Fetch', { artifact });
  const labels = { cluster: 'c', generation: 1, service: 's', revision: 1, revisionDigest: artifact.digest };
  try {
    await call(compute, 'Create', { id: 'i', ...labels, artifact, ports: [{ name: 'http' }], grace: { seconds: 1 } });
    await call(compute, 'Inspect', { id: 'i' });
    await call(compute, 'List', { cluster: 'c' });
    await first(compute, 'Watch', {});
    await first(compute, 'Logs', { id: 'i' });
  } finally {
    await call(compute, 'Destroy', { id: 'i', grace: { seconds: 1 } });
  }
  await call(compute, 'Inspect', { id: 'i' }).catch((error) => error); // an error has its own way
  [driver, compute, health].forEach((each) => each.close());
}

const call = (client, method, request) => new Promise((resolve, reject) => {
  client[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
});

/** Waits until a stream has given something, or has ended, and leaves it. */
const first = (client, method, request) => new Promise((resolve, reject) => {
  const stream = client[method](request);
  stream.once('data', resolve);
  stream.once('end', resolve);
  stream.on('error', reject); // which does nothing any more after the first message
  stream.once('data', () => stream.cancel());
});
