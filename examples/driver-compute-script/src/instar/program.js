// The larger part of the driver, which is in the executable beside its main: as JavaScript, and as what the
// engine had made of it when the driver was built. Only with both does a driver start in little time.
import { createRequire } from 'node:module';
import { getAsset, getRawAsset } from 'node:sea';
import { Script } from 'node:vm';

/** The names under which the executable has them. */
export const assets = { source: 'program.cjs', code: 'program.code' };

/** Loads the program from the executable, and returns its exports. */
export function loadProgram() {
  return evaluate(compile(getAsset(assets.source, 'utf8'), Buffer.from(getRawAsset(assets.code))));
}

/**
 * Compiles a CommonJS module. The engine looks whether the code is its own and that of this source; if not,
 * as with other flags in NODE_OPTIONS, it compiles the source anew.
 */
export function compile(source, code) {
  const wrapped = `(function (exports, require, module) {${source}\n})`;
  return new Script(wrapped, { filename: assets.source, cachedData: code });
}

export function evaluate(script) {
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(process.execPath), module);
  return module.exports;
}
