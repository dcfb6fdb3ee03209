// What is loaded when instard starts the driver: gRPC, the protocol, and the driver itself.
import { serve } from './instar/serve.js';
import { ScriptDriver } from './script/driver.js';

export { rehearse } from './rehearsal.js';

export async function run() {
  const driver = new ScriptDriver(VERSION);
  await serve(driver, 'compute', driver);
}
