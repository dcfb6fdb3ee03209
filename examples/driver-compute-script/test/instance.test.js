import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Instances } from '../src/script/instances.js';
import { Instance } from '../src/script/instance.js';
import { sendOutput } from '../src/script/output.js';
import { alive } from '../src/script/proc.js';
import { write } from '../src/script/workload.js';

process.argv[1] = join(__dirname, '../main.cjs'); // what a keeper is; the tests are built as CommonJS

async function make(t, source) {
  const state = mkdtempSync(join(tmpdir(), 'script-'));
  const instances = new Instances(state);
  const dir = instances.directory('i-1');
  const artifact = join(state, 'artifact');
  appendFileSync(artifact, source);
  const request = {
    id: 'i-1', cluster: 'c', generation: '1', service: 's', revision: '1', revisionDigest: 'sha256:1', grace: null,
    env: {}, ports: [], mounts: [], artifact: { source: 'app.sh', digest: 'sha256:0' },
  };
  const target = { interpreter: ['/bin/sh'], bind: '127.0.0.1' };
  const record = await write(dir, { request, config: { args: [] }, target, ports: {}, artifact });
  const instance = new Instance(dir, record);
  t.after(async () => {
    await instance.end(0);
    rmSync(state, { recursive: true });
  });
  return instance;
}

async function eventually(what, condition) {
  for (const limit = Date.now() + 30_000; !await condition(); await delay(20)) {
    assert.ok(Date.now() < limit, `timed out: ${what}`);
  }
}

test('a keeper that is killed takes its script with it', async (t) => {
  const instance = await make(t, 'sleep 300 & wait');
  await instance.start();
  assert.equal(instance.state, 'RUNNING');
  const [keeper, script] = ['keeper', 'script'].map((name) => JSON.parse(readFileSync(instance.file(name))));
  process.kill(keeper.pid, 'SIGKILL');
  await eventually('the keeper is gone', async () => !await alive(keeper));
  await instance.look();
  assert.equal(instance.state, 'EXITED');
  assert.equal(instance.exit.code, -1);
  assert.equal(await alive(script), false);
});

test('an instance is started once, whoever asks', async (t) => {
  const instance = await make(t, 'echo started; exec sleep 300');
  const others = [1, 2, 3].map(() => new Instance(instance.dir, instance.record));
  await Promise.all([instance, ...others].map((i) => i.start()));
  await eventually('its output', () => existsSync(instance.file('log')) && readFileSync(instance.file('log')).length > 0);
  await delay(300); // a second script would have printed by now
  assert.equal(String(readFileSync(instance.file('log'))).split('\n').length, 2);
});

test('an instance that is destroyed before its keeper begins is never started', async (t) => {
  const instance = await make(t, 'echo started');
  await instance.end(0);
  await instance.start();
  assert.equal(instance.state, 'EXITED');
  assert.ok(!existsSync(instance.file('script')));
});

test('a script that ignores SIGTERM is killed after its grace', async (t) => {
  const instance = await make(t, 'trap "" TERM; while :; do sleep 1; done');
  await instance.start();
  const began = Date.now();
  await instance.end(300);
  assert.ok(Date.now() - began >= 300);
  await instance.look();
  assert.equal(instance.exit.signal, 'SIGKILL');
});

test('a program that is not there is told, and nothing has run', async (t) => {
  const instance = await make(t, '');
  const start = JSON.parse(readFileSync(instance.file('start.json')));
  start.command[0] = '/no/such/program';
  rmSync(instance.file('start.json'));
  appendFileSync(instance.file('start.json'), JSON.stringify(start));
  await instance.start();
  assert.match(instance.exit.failure, /ENOENT/);
});

test('a log is followed into the next file', async (t) => {
  const instance = await make(t, '');
  const line = (text) => appendFileSync(instance.file('log'), `${JSON.stringify({ time: 1, stream: 'stdout', text })}\n`);
  const over = new AbortController();
  const got = [];
  line('1');
  line('2');
  const done = sendOutput(instance, { tail: 1, follow: true }, { signal: over.signal, send: async ({ text }) => got.push(text) });
  await eventually('the last line', () => got.length === 1);
  line('3');
  renameSync(instance.file('log'), instance.file('log.1'));
  line('4');
  await eventually('the lines of both files', () => got.length >= 3);
  over.abort();
  await done;
  assert.deepEqual(got, ['2', '3', '4']);
});
