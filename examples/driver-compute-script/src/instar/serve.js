// Runs a driver as a process: what serve.Run of the Go sdk does.
import { writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import tls from 'node:tls';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';

import { toStatus, unsupported } from './failure.js';
import { handshakeLine, readLaunch } from './host.js';
import { log, openLog } from './log.js';
import { services } from './protocol.js';

const maxMessageBytes = 256 * 1024 * 1024;

/**
 * Serves a driver until SIGTERM. Each member of driver and kind is a method of the service with that name:
 * a call with one answer is async (request, { signal }) => answer; one with a stream of answers is
 * async (request, stream) => void, where stream.send(answer) waits while the caller is slow, and
 * stream.signal aborts when the call ends, as signal does when nobody waits any more; one with a stream of requests gets those as an async iterable.
 */
export async function serve(driver, kindService, kind) {
  const launch = readLaunch();
  openLog(launch.log, launch.level);
  dropSignals();
  tls.DEFAULT_MIN_VERSION = 'TLSv1.3';
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  });
  const stop = once(async () => {
    log('info', 'stopping');
    server.forceShutdown();
    await rm(launch.socket, { force: true });
    process.exit(0); // what runs is the next process's
  });
  process.on('SIGTERM', stop);
  addServices(server, driver, kindService, kind, stop);
  await listen(server, launch);
  writeSync(1, handshakeLine(launch));
}

/** Adds what the daemon calls, for serve's arguments; stop is called when it asks for the end of the process. */
export function addServices(server, driver, kindService, kind, stop) {
  server.addService(services.driver, handlers(services.driver, driver));
  server.addService(services[kindService], handlers(services[kindService], kind));
  addGoPlugin(server, stop);
}

/** SIGHUP, SIGINT and SIGPIPE come when a daemon or its terminal dies, and mean nothing to a driver. */
function dropSignals() {
  for (const name of ['SIGHUP', 'SIGINT', 'SIGPIPE']) {
    process.on(name, () => {});
  }
  process.on('unhandledRejection', (error) => log('error', 'unhandled rejection', { stack: error?.stack ?? error }));
  process.on('uncaughtException', (error) => log('error', 'uncaught exception', { stack: error?.stack ?? error }));
}

/** Listens with the key pair of this launch, for the daemon's certificate alone. */
function listen(server, launch) {
  const pair = { cert_chain: launch.certificate, private_key: launch.key };
  const credentials = ServerCredentials.createSsl(launch.hostCertificate, [pair], true);
  process.umask(0o077); // the socket is for the daemon's user
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${launch.socket}`, credentials, (error) => (error ? reject(error) : resolve()));
  });
}

/** What go-plugin calls beside the driver's own services. */
function addGoPlugin(server, stop) {
  server.addService(services.health, {
    Check: (call, done) => (['', 'plugin'].includes(call.request.service)
      ? done(null, { status: 'SERVING' })
      : done({ code: status.NOT_FOUND, details: `there is no service ${call.request.service}` })),
  });
  server.addService(services.broker, {
    StartStream: (call) => {
      call.on('error', () => {});
      call.on('data', () => {}); // the daemon has nothing to broker
      call.on('end', () => call.end());
    },
  });
  server.addService(services.stdio, { StreamStdio: (call) => call.on('error', () => {}) }); // open, and silent
  server.addService(services.controller, {
    Shutdown: (call, done) => {
      done(null, {});
      setImmediate(stop);
    },
  });
}

/** Makes grpc-js's handlers of a service from async functions. */
function handlers(service, methods) {
  const out = {};
  for (const [name, definition] of Object.entries(service)) {
    const method = methods[name]?.bind(methods) ?? (() => { throw unsupported(`this driver has no ${name}`); });
    if (definition.responseStream) {
      out[name] = streaming(name, method);
    } else if (definition.requestStream) {
      out[name] = (call, done) => answer(name, call, () => method(call), done);
    } else {
      out[name] = (call, done) => answer(name, call, (signal) => method(call.request, { signal }), done);
    }
  }
  return out;
}

async function answer(name, call, method, done) {
  const over = new AbortController();
  call.on('cancelled', () => over.abort());
  try {
    done(null, await method(over.signal));
  } catch (error) {
    done(over.signal.aborted ? { code: status.CANCELLED } : failed(name, error));
  }
}

function streaming(name, method) {
  return async (call) => {
    const over = new AbortController();
    call.on('cancelled', () => over.abort());
    call.on('close', () => over.abort());
    call.on('error', () => over.abort());
    const send = (message) => {
      over.signal.throwIfAborted();
      if (call.write(message)) {
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        call.once('drain', resolve);
        over.signal.addEventListener('abort', resolve, { once: true });
      });
    };
    try {
      await method(call.request, { send, signal: over.signal });
      call.end();
    } catch (error) {
      if (!over.signal.aborted) {
        call.emit('error', failed(name, error));
      }
    }
  };
}

/** An error without a code is a fault of the driver's: the daemon gets its text, the log where it is. */
function failed(name, error) {
  const outcome = toStatus(error);
  const level = outcome.code === status.INTERNAL ? 'error' : 'debug';
  log(level, `${name} failed`, { error: outcome.details, ...(level === 'error' && { stack: error?.stack }) });
  return outcome;
}

function once(action) {
  let running;
  return () => (running ??= action());
}
