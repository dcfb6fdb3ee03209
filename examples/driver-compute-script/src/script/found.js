// Instances that run while their directory is gone, as when the state directory was lost: their keepers know them.
import { readFile, readdir } from 'node:fs/promises';
import { join, dirname } from 'node:path';

import { makeDirectory, readIfThere, replace } from './files.js';
import { keptBy } from './keeper.js';
import { alive, identify, leaderBelow } from './proc.js';

/** Gives every instance in dir that only its keeper knows its directory and its record back. */
export async function restoreFound(dir) {
  for (const entry of await readdir('/proc')) {
    const kept = /^\d+$/.test(entry) ? keptBy(await environment(entry)) : null;
    if (kept !== null && dirname(kept.dir) === dir && await readIfThere(join(kept.dir, 'record.json')) === null) {
      await restore(kept, Number(entry));
    }
  }
}

async function restore({ dir, record }, pid) {
  const keeper = await identify(pid);
  if (keeper === null || !await alive(keeper)) {
    return;
  }
  await makeDirectory(join(dir, 'work'));
  await replace(join(dir, 'keeper'), JSON.stringify(keeper));
  const script = await leaderBelow(pid);
  if (script !== null) {
    await replace(join(dir, 'script'), JSON.stringify(script));
  }
  await replace(join(dir, 'record.json'), JSON.stringify({ ...record, lost: true })); // last: now it is one again
}

/** The variables that a process was started with; none of one that is gone, or somebody else's. */
async function environment(pid) {
  try {
    const text = await readFile(`/proc/${pid}/environ`, 'utf8');
    return new Map(text.split('\0').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  } catch {
    return new Map();
  }
}
