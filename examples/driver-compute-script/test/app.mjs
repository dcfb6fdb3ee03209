// What the conformance suite runs: a web server that also does what the suite asks for.
//   app.mjs            serves on the port called http, if it has one
//   app.mjs exit       ends with status 3
//   app.mjs talk       prints six lines that the suite wants to read back, and serves
//   app.mjs show       prints its variable CONFORMANCE, and a mounted file if it has it, and serves
//   app.mjs stubborn   does not stop when it is asked to, and says so
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const { INSTAR_INSTANCE: instance, INSTAR_REVISION: revision, INSTAR_PORT_HTTP: port, GREETING: greeting = 'hello' } = process.env;
const file = 'conformance/data.txt';
const quiet = () => {};

const modes = {
  exit: () => process.exit(3),
  talk: () => {
    console.log([1, 2, 3, 4, 5].map((n) => `out ${n}`).join('\n'));
    console.error('err 1');
  },
  show: () => {
    console.log(process.env.CONFORMANCE);
    process.stdout.write(existsSync(file) ? readFileSync(file) : '');
  },
  stubborn: () => {
    process.on('SIGTERM', quiet);
    console.log('stubborn');
  },
};
const mode = process.argv[2];
modes[mode]?.();

const server = createServer((request, response) => {
  response.setHeader('X-Instance', instance);
  response.end(`${greeting} from revision ${revision}\n`);
});
server.listen(port ?? 0, '127.0.0.1', () => mode in modes || console.log(`listening on port ${server.address().port}`));
if (mode !== 'stubborn') {
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
}
