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

import { protocolSource } from './protocol.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const { name, version } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
mkdirSync(dist, { recursive: true });

const protos = ['proto/driver/v1/driver', 'proto/driver/v1/compute', 'wire/go-plugin', 'wire/grpc', 'wire/status'];
const protocol = {
  name: 'instar:protocol',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^instar:protocol$/ }, ({ path }) => ({ path, namespace: 'made' }));
    onLoad({ filter: /.*/, namespace: 'made' }, () => ({
      contents: protocolSource(protos.map((file) => join(here, `${file}.proto`))), resolveDir: here,
    }));
  },
};

const options = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node26',
  define: { VERSION: JSON.stringify(version) },
  plugins: [protocol],
  outExtension: { '.js': '.cjs' },
  legalComments: 'linked',
  logLevel: 'warning',
};
// The engine comes from npm like everything else, pinned by its hash in the lock file, so what is built does
// not depend on which Node this machine has.
const engine = createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`);
const [main, program, loader] = ['main', 'program', 'instar/program'].map((file) => join(here, `src/${file}.js`));
if (process.argv[2] === 'test') {
  const tests = readdirSync(join(here, 'test')).filter((file) => file.endsWith('.test.js'));
  await build({ ...options, entryPoints: [main], outdir: dist });
  await build({ ...options, entryPoints: tests.map((file) => join(here, 'test', file)), outdir: join(dist, 'test') });
  execFileSync(engine, ['--test', join(dist, 'test')], { stdio: 'inherit' });
  process.exit();
}
await build({ ...options, entryPoints: { main, program, loader }, outdir: dist });
const source = join(dist, 'program.cjs');
const code = join(dist, 'program.code');
execFileSync(engine, [join(here, 'rehearse.mjs'), source, code], { stdio: 'inherit' });
const config = join(dist, 'sea.json');
writeFileSync(config, JSON.stringify({
  main: join(dist, 'main.cjs'),
  output: join(dist, name),
  disableExperimentalSEAWarning: true,
  assets: { 'program.cjs': source, 'program.code': code },
}));
execFileSync(engine, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
console.log(join(dist, name));
