// What the kernel says of processes. A number alone proves nothing, because numbers are used again: start
// time and boot must be the same too.
import { readFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';

const boot = () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** The fields of /proc/PID/stat from the third on: the second may hold blanks and parentheses. */
async function stat(pid) {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null; // gone
  }
}

/** Identity of a running process: { pid, started, boot }. */
export async function identify(pid) {
  const fields = await stat(pid);
  return fields === null ? null : { pid, started: fields[19], boot: boot() };
}

/** Identity of the child of a process that leads a session of its own; null if there is none. */
export async function leaderBelow(parent) {
  for (const entry of await readdir('/proc')) {
    const fields = /^\d+$/.test(entry) ? await stat(entry) : null;
    if (fields !== null && Number(fields[1]) === parent && fields[3] === entry) {
      return { pid: Number(entry), started: fields[19], boot: boot() };
    }
  }
  return null;
}

/** Whether the process with this identity still runs; one that only waits to be reaped does not. */
export async function alive(identity) {
  if (identity.boot !== boot()) {
    return false;
  }
  const fields = await stat(identity.pid);
  return fields !== null && fields[19] === identity.started && !'ZX'.includes(fields[0]);
}

/** Sends a signal to a process, or to its group; no error if it is gone. */
export function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') {
      throw error;
    }
  }
}

const nanosPerTick = 10_000_000n; // Linux counts in hundredths of a second on every platform that Node runs on

/** CPU time (also of children that have ended) and resident memory of the sessions with the given leaders. */
export async function usageOfSessions(leaders) {
  const sums = new Map(leaders.map((pid) => [pid, { cpuNanos: 0n, memory: 0 }]));
  for (const entry of await readdir('/proc')) {
    const fields = /^\d+$/.test(entry) ? await stat(entry) : null;
    const sum = fields && sums.get(Number(fields[3]));
    if (!sum) {
      continue;
    }
    const ticks = [11, 12, 13, 14].reduce((total, n) => total + BigInt(fields[n]), 0n);
    sum.cpuNanos += ticks * nanosPerTick;
    sum.memory += await resident(entry);
  }
  return sums;
}

async function resident(pid) {
  try {
    const found = /^VmRSS:\s*(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'));
    return found ? Number(found[1]) * 1024 : 0;
  } catch {
    return 0; // gone meanwhile
  }
}
