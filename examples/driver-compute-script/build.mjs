// node build.mjs        builds dist/instar-compute-script
// node build.mjs test   builds the tests instead, and runs them
//
// A driver is one file that has everything in it, the JavaScript engine too.
//
// One file, because instard runs a driver only if the SHA-256 of the file that it executes is in its lock
// file. Of a script that begins with #! the interpreter would be that file, and nothing would be known of
// the script and the modules that it loads.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const { name, version } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
mkdirSync(dist, { recursive: true });

const options = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node26',
  loader: { '.proto': 'text' },
  define: { VERSION: JSON.stringify(version) },
  outExtension: { '.js': '.cjs' },
  legalComments: 'linked',
  logLevel: 'warning',
};
const tests = readdirSync(join(here, 'test')).filter((file) => file.endsWith('.test.js'));
await build({ ...options, entryPoints: [join(here, 'src/main.js')], outdir: dist });
await build({ ...options, entryPoints: tests.map((file) => join(here, 'test', file)), outdir: join(dist, 'test') });
// The engine comes from npm like everything else, pinned by its hash in the lock file, so what is built does
// not depend on which Node this machine has.
const engine = createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`);
if (process.argv[2] === 'test') {
  execFileSync(engine, ['--test', join(dist, 'test')], { stdio: 'inherit' });
  process.exit();
}
const config = join(dist, 'sea.json');
writeFileSync(config, JSON.stringify({
  main: join(dist, 'main.cjs'),
  output: join(dist, name),
  disableExperimentalSEAWarning: true,
}));
execFileSync(engine, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
console.log(join(dist, name));
