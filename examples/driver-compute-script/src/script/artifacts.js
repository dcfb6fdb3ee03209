// Artifacts: files, each kept by the digest of its content, so that a service runs on when its source is gone.
import { createReadStream } from 'node:fs';
import { copyFile, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { Failure, conflict, invalidConfig, notFound } from '../instar/failure.js';
import { makeDirectory, sha256File, syncDirectory } from './files.js';

const digestPattern = /^sha256:[0-9a-f]{64}$/;

export class Artifacts {
  constructor(dir) {
    this.dir = dir;
  }

  async open() {
    await makeDirectory(this.dir);
    for (const name of await readdir(this.dir)) {
      if (!/^[0-9a-f]{64}$/.test(name)) {
        await rm(join(this.dir, name), { force: true }); // begun, and never ended
      }
    }
  }

  /** Where the artifact with a digest is, or would be. */
  path(digest) {
    if (!digestPattern.test(digest)) {
      throw invalidConfig('artifact.digest', `${JSON.stringify(digest)} is not sha256: and 64 hexadecimal digits`);
    }
    return join(this.dir, digest.slice('sha256:'.length));
  }

  /** Pins an artifact: its digest is the SHA-256 of the file. */
  async resolve(artifact) {
    await requireFile(artifact.source);
    const digest = `sha256:${await sha256File(artifact.source)}`;
    if (artifact.checksum && artifact.checksum !== digest) {
      throw invalidConfig('artifact.checksum', `${artifact.source} has ${digest}, not ${artifact.checksum}`);
    }
    return { ...artifact, digest };
  }

  /** Makes a pinned artifact ready: copies it, unless it is there. */
  async fetch(artifact) {
    const path = this.path(artifact.digest);
    if (await size(path) !== null) {
      return;
    }
    await requireFile(artifact.source);
    await this.take(artifact.digest, (fresh) => copyFile(artifact.source, fresh));
  }

  /** Fills a file and keeps it, if it is what the digest says. */
  async take(digest, fill) {
    const path = this.path(digest);
    const fresh = join(this.dir, `${randomUUID()}.new`);
    try {
      await fill(fresh);
      const got = `sha256:${await sha256File(fresh)}`;
      if (got !== digest) {
        throw conflict(`the content has ${got}, and not ${digest}: it has changed since it was pinned`);
      }
      const file = await open(fresh, 'r+');
      await file.sync().finally(() => file.close());
      await rename(fresh, path);
      await syncDirectory(this.dir);
    } finally {
      await rm(fresh, { force: true });
    }
  }

  /** Removes what is not to be kept; returns how many bytes that freed. */
  async prune(keep) {
    let freed = 0;
    for (const name of await readdir(this.dir)) {
      const path = join(this.dir, name);
      if (/^[0-9a-f]{64}$/.test(name) && !keep.has(`sha256:${name}`)) {
        freed += (await size(path)) ?? 0;
        await rm(path, { force: true });
      }
    }
    return freed;
  }

  /** The content of an artifact that is ready, as a stream. */
  async read(digest) {
    const path = this.path(digest);
    if (await size(path) === null) {
      throw notFound(`there is no artifact ${digest}`);
    }
    return createReadStream(path);
  }

  /** Takes what another driver's read has given, from messages { digest, data }. */
  async import(messages) {
    let digest = null;
    const hash = createHash('sha256');
    const fresh = join(this.dir, `${randomUUID()}.new`);
    const file = await open(fresh, 'wx', 0o600);
    try {
      for await (const message of messages) {
        digest ??= message.digest;
        hash.update(message.data);
        await file.writeFile(message.data);
      }
      const got = `sha256:${hash.digest('hex')}`;
      if (got !== digest) {
        throw invalidConfig('digest', `what came has ${got}, not ${digest || 'a digest'}`);
      }
      await file.sync();
      await rename(fresh, this.path(digest));
      await syncDirectory(this.dir);
    } finally {
      await file.close();
      await rm(fresh, { force: true });
    }
  }
}

async function size(path) {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error.code === 'ENOENT') {
      return null;
    }
    throw error;
  }
}

async function requireFile(source) {
  let info;
  try {
    info = await stat(source);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(error.code)) {
      throw notFound(`there is no file ${source}`);
    }
    throw new Failure('INVALID_CONFIG', `${source}: ${error.message}`, { attribute: 'artifact.source', cause: error });
  }
  if (!info.isFile()) {
    throw invalidConfig('artifact.source', `${source} is not a file: a script is one file`);
  }
}
