// What the daemon says to a driver that it starts, in the environment, and what the driver answers with.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const cookie = { name: 'INSTAR_DRIVER', value: '8c27f5a4-driver' };

/** The version of the driver protocol that this driver speaks. */
export const protocolVersion = 1;

/** Whether instard has started this process, and not a person. */
export const launchedByHost = () => process.env[cookie.name] === cookie.value;

/**
 * Reads the launch from the environment and removes it there: programs that the driver starts must not take
 * themselves for drivers, nor be taken for this one by a daemon that looks for lost processes.
 */
export function readLaunch() {
  const env = (name) => {
    const value = process.env[name];
    if (!value) {
      throw new Error(`${name} is not set: the daemon that launched this driver does not speak its protocol`);
    }
    return value;
  };
  const offered = (process.env.PLUGIN_PROTOCOL_VERSIONS ?? String(protocolVersion)).split(',').map(Number);
  if (!offered.includes(protocolVersion)) {
    throw new Error(`the daemon speaks versions ${offered} of the driver protocol, this driver speaks ${protocolVersion}`);
  }
  const launch = {
    certificate: readFileSync(env('INSTAR_DRIVER_CERT')),
    key: readFileSync(env('INSTAR_DRIVER_KEY')),
    hostCertificate: readFileSync(env('INSTAR_DRIVER_HOST_CERT')),
    // The name is no longer than what go-plugin chooses, for which the daemon has left room.
    socket: join(env('PLUGIN_UNIX_SOCKET_DIR'), `plugin${randomInt(2 ** 32)}`),
    log: process.env.INSTAR_DRIVER_LOG,
    level: process.env.INSTAR_DRIVER_LOG_LEVEL,
    multiplex: 'PLUGIN_MULTIPLEX_GRPC' in process.env,
  };
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('PLUGIN_') || name.startsWith('INSTAR_DRIVER')) {
      delete process.env[name];
    }
  }
  return launch;
}

/**
 * The line by which a driver says that it listens: version of go-plugin's protocol, version of the driver
 * protocol, network, address, kind of server, its certificate (the daemon has it already), and whether
 * further connections can share the first one, which is asked for by newer daemons only.
 */
export function handshakeLine(launch) {
  const line = `1|${protocolVersion}|unix|${launch.socket}|grpc|`;
  return launch.multiplex ? `${line}|false\n` : `${line}\n`;
}
