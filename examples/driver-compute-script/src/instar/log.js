// The driver's log: the file that the daemon has named, of limited size.
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const levels = ['trace', 'debug', 'info', 'warn', 'error'];
const maxBytes = 10 * 1024 * 1024;

let path = null;
let fd = 2; // the daemon has pointed standard error at the same file
let least = levels.indexOf('info');

/** Begins to write to a file; one that reaches 10 MiB becomes PATH.1, of which one is kept. */
export function openLog(file, level) {
  if (levels.includes(level)) {
    least = levels.indexOf(level);
  }
  if (file) {
    path = file;
    fd = openSync(path, 'a', 0o600);
  }
  // A pipe to a daemon that has died must neither end this process nor hold it up.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  for (const name of ['log', 'info', 'warn', 'error', 'debug']) {
    console[name] = (...args) => log('info', args.join(' '));
  }
}

/** Writes one line: time, level, text, and key=value for each fact. */
export function log(level, text, facts = {}) {
  if (levels.indexOf(level) < least) {
    return;
  }
  const pairs = Object.entries(facts).map(([key, value]) => ` ${key}=${JSON.stringify(String(value))}`);
  const line = `${new Date().toISOString()} [${level.toUpperCase()}] ${text}${pairs.length ? ':' : ''}${pairs.join('')}\n`;
  try {
    rotate(line.length);
    writeSync(fd, line);
  } catch {
    // A disk without room for the log must not end what the driver is for.
  }
}

function rotate(more) {
  if (path === null || fstatSync(fd).size + more <= maxBytes) {
    return;
  }
  renameSync(path, `${path}.1`);
  const old = fd;
  fd = openSync(path, 'a', 0o600);
  closeSync(old);
}
