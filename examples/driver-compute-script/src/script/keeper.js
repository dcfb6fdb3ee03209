// The process that looks after one instance: it starts the script, writes down what it prints and how it
// ends, and outlives the driver. It is this same program, started with a directory in its environment.
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isSea } from 'node:sea';
import { setTimeout as delay } from 'node:timers/promises';

import { claim, readJSON, replace } from './files.js';
import { identify, signal } from './proc.js';

const variable = 'INSTAR_SCRIPT_KEEP';
const recordVariable = 'INSTAR_SCRIPT_RECORD';
const maxLogBytes = 10 * 1024 * 1024;
const maxLine = 64 * 1024;
const lastWords = 1000; // milliseconds for output that is still on its way when the script has ended

/** The directory of the instance that this process keeps; null in every other process. */
export const keptDirectory = () => process.env[variable] ?? null;

/** What the keeper with this environment, a map, keeps: { dir, record }; null if it is none. */
export function keptBy(environment) {
  const [dir, record] = [variable, recordVariable].map((name) => environment.get(name));
  return dir === undefined || record === undefined ? null : { dir, record: JSON.parse(record) };
}

/**
 * Starts a keeper for an instance's directory. Several may be started: only one claims the instance. Its environment
 * has the record too, for whoever finds the process and not the directory any more.
 */
export function startKeeper(dir, record, errors) {
  const child = spawn(process.execPath, isSea() ? [] : [process.argv[1]], {
    cwd: dir,
    detached: true, // a session of its own
    env: { [variable]: dir, [recordVariable]: JSON.stringify({ ...record, mounts: [] }) }, // a variable has a limit
    stdio: ['ignore', errors, errors],
  });
  child.unref();
  return child;
}

/**
 * Keeps the instance in dir. Whoever claims the file "keeper" first has it for ever: a second keeper ends,
 * and a driver that destroys the instance claims it too, so that a late keeper finds it taken.
 */
export async function keep(dir) {
  let script = null;
  let unwanted = false; // asked to stop before there was a script
  const pass = (name) => () => {
    unwanted = true;
    if (script?.pid) {
      signal(-script.pid, name);
    }
  };
  for (const name of ['SIGHUP', 'SIGINT', 'SIGPIPE']) {
    process.on(name, () => {});
  }
  process.on('SIGTERM', pass('SIGTERM')); // the driver asks the script to stop
  process.on('SIGUSR2', pass('SIGKILL')); // and ends it
  const start = await readJSON(join(dir, 'start.json'));
  if (start === null || !await claim(join(dir, 'keeper'), JSON.stringify(await identify(process.pid)))) {
    return;
  }
  if (unwanted) {
    await finish(dir, { code: -1, signal: 'SIGTERM', message: 'stopped before it was started' });
  }
  delete process.env[variable];
  delete process.env[recordVariable];
  process.umask(0o022);
  const began = Date.now();
  const output = new Output(join(dir, 'log'));
  try {
    script = spawn(start.command[0], start.command.slice(1), {
      cwd: join(dir, 'work'), env: start.env, detached: true, stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) { // some reasons are thrown, such as an environment that is too large; others are events
    await finish(dir, unstarted(error));
  }
  const ended = end(script);
  const read = ['stdout', 'stderr'].map((stream) => output.follow(stream, script[stream]));
  if (script.pid) {
    await replace(join(dir, 'script'), JSON.stringify(await identify(script.pid) ?? { pid: script.pid }));
  }
  const outcome = await ended;
  if (script.pid) {
    signal(-script.pid, 'SIGKILL'); // what it has left behind in its group
  }
  await Promise.race([Promise.all(read), delay(lastWords)]); // who has left the group may hold the pipe for ever
  await finish(dir, { ...outcome, message: describe(outcome, Date.now() - began) });
}

/** Writes down how the instance ended, and ends this process. */
async function finish(dir, outcome) {
  await replace(join(dir, 'exit'), JSON.stringify({ ...outcome, at: Date.now() }));
  process.exit(0);
}

/** How a script ends: its exit status or a signal, or why it could not be started. */
function end(script) {
  return new Promise((resolve) => {
    script.once('error', (error) => resolve(unstarted(error)));
    script.once('exit', (code, name) => resolve({ code: code ?? -1, signal: name ?? '' }));
  });
}

/** The end of a script that never was. */
const unstarted = ({ message }) => ({ code: -1, signal: '', failure: message, message: `could not be started: ${message}` });

function describe({ code, signal: name, message }, ms) {
  if (message) {
    return message;
  }
  return name ? `ended by ${name} after ${ms} ms` : `exited with status ${code} after ${ms} ms`;
}

/** The log of an instance: one line of JSON for each line of output, in at most two files of 10 MiB. */
class Output {
  constructor(path) {
    this.path = path;
    this.fd = openSync(path, 'a', 0o600);
  }

  async follow(stream, source) {
    source.setEncoding('utf8');
    let rest = '';
    for await (const chunk of source) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const text of lines) {
        this.write({ time: Date.now(), stream, text: text.slice(0, maxLine) });
      }
      rest = rest.slice(0, maxLine + 1); // a line without an end takes no more memory than this
    }
    if (rest !== '') {
      this.write({ time: Date.now(), stream, text: rest.slice(0, maxLine) });
    }
  }

  write(line) {
    try {
      if (fstatSync(this.fd).size > maxLogBytes) {
        renameSync(this.path, `${this.path}.1`);
        closeSync(this.fd);
        this.fd = openSync(this.path, 'a', 0o600);
      }
      writeSync(this.fd, `${JSON.stringify(line)}\n`);
    } catch {
      // A full disk loses lines of the log; the instance runs on.
    }
  }
}
