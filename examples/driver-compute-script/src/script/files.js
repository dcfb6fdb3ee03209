// Files that outlive a crash: written whole or not at all.
import { constants, createReadStream } from 'node:fs';
import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { createHash, randomUUID } from 'node:crypto';
import { dirname } from 'node:path';

/** Writes a file so that a crash leaves the old or the new content: write, fsync, rename. */
export async function replace(path, data, mode = 0o600) {
  const fresh = await writeBeside(path, data, mode);
  await rename(fresh, path);
  await syncDirectory(dirname(path));
}

/** Writes a file that must not exist, whole: of several that try, one gets true. */
export async function claim(path, data) {
  const fresh = await writeBeside(path, data, 0o600);
  try {
    await link(fresh, path);
  } catch (error) {
    if (error.code === 'EEXIST') {
      return false;
    }
    throw error;
  } finally {
    await rm(fresh, { force: true });
  }
  await syncDirectory(dirname(path));
  return true;
}

async function writeBeside(path, data, mode) {
  const fresh = `${path}.${randomUUID()}.new`;
  const file = await open(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  try {
    await file.chmod(mode); // whatever the umask is
    await file.writeFile(data);
    await file.sync();
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return fresh;
}

export async function syncDirectory(path) {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export async function makeDirectory(path) {
  await mkdir(path, { recursive: true, mode: 0o700 });
  return path;
}

/** Reads a file; null if there is none. */
export async function readIfThere(path) {
  try {
    return await readFile(path);
  } catch (error) {
    if (error.code === 'ENOENT') {
      return null;
    }
    throw error;
  }
}

export async function readJSON(path) {
  const data = await readIfThere(path);
  if (data === null) {
    return null;
  }
  try {
    return JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw new Error(`${path} is damaged: ${error.message}`);
  }
}

/** The SHA-256 of data, in hexadecimal. */
export const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** The SHA-256 of a file's content, in hexadecimal. */
export async function sha256File(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk);
  }
  return hash.digest('hex');
}
