// instar-compute-script: a compute driver for instar in JavaScript.
import { launchedByHost } from './instar/host.js';
import { loadProgram } from './instar/program.js';
import { keep, keptDirectory } from './script/keeper.js';

const about = `instar-compute-script ${VERSION} is the compute driver "script" for instar (driver protocol 1).

It is not run by hand: put it into a plugin directory of instard, which starts it.
  instar driver docs script                       how it is configured
  instar driver verify PATH/TO/instar-compute-script   whether it keeps the driver contract
`;

async function main() {
  if (keptDirectory() !== null) {
    await keep(keptDirectory()); // this process looks after one instance
    return;
  }
  if (!launchedByHost()) {
    process.stderr.write(about);
    process.exitCode = 2;
    return;
  }
  await loadProgram().run(); // only here, because keepers are many and need none of it
}

main().catch((error) => {
  process.stderr.write(`instar-compute-script: ${error.stack ?? error}\n`);
  process.exitCode = 1;
});
