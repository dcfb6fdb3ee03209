// What the conformance suite runs: a web server that also does what the suite asks for.
//   app.mjs            serves on the port called http, if it has one
//   app.mjs exit       ends with status 3
//   app.mjs talk       prints what the suite wants to read back, and serves
import { createServer } from 'node:http';

if (process.argv[2] === 'exit') {
  process.exit(3);
}
if (process.argv[2] === 'talk') {
  for (let n = 1; n <= 5; n++) {
    console.log(`out ${n}`);
  }
  console.error('err 1');
}
const { INSTAR_INSTANCE: instance, INSTAR_REVISION: revision, INSTAR_PORT_HTTP: port, GREETING: greeting = 'hello' } = process.env;
const server = createServer((request, response) => {
  response.setHeader('X-Instance', instance);
  response.end(`${greeting} from revision ${revision}\n`);
});
server.listen(port ?? 0, '127.0.0.1', () => console.log(`listening on port ${server.address().port}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
