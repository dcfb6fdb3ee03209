// node rehearse.mjs PROGRAM CODE   runs the program's rehearsal, and writes the code that the engine has made
//
// Called by build.mjs, with the engine that will be in the executable: no other one could use the code.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const [program, code] = process.argv.slice(2);
const { compile, evaluate } = await import(join(dirname(program), 'loader.cjs'));
process.argv[1] = join(dirname(program), 'main.cjs'); // what a keeper is
const script = compile(readFileSync(program, 'utf8'));
await evaluate(script).rehearse(join(dirname(program), '../test/app.mjs'));
writeFileSync(code, script.createCachedData());
process.exit();
