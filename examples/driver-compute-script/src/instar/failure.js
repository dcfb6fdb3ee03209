// Errors that reach the daemon with their code: see ErrorDetail in driver.proto.
import { Metadata, status } from '@grpc/grpc-js';

import { duration, encodeStatus } from './protocol.js';

// An error's text travels in a header, and peers limit those.
const maxText = 4096;

const codes = {
  NOT_FOUND: status.NOT_FOUND,
  CONFLICT: status.FAILED_PRECONDITION,
  UNAVAILABLE: status.UNAVAILABLE,
  INVALID_CONFIG: status.INVALID_ARGUMENT,
  UNSUPPORTED: status.UNIMPLEMENTED,
  INTERNAL: status.INTERNAL,
};

/** Failure is an error with a code of the protocol. Its message says what and where, for a person. */
export class Failure extends Error {
  constructor(code, message, { attribute = '', retryAfter = 0, cause } = {}) {
    super(message, { cause });
    this.code = code;
    this.attribute = attribute;
    this.retryAfter = retryAfter; // milliseconds, for UNAVAILABLE; 0: the caller's choice
  }
}

export const notFound = (message) => new Failure('NOT_FOUND', message);
export const conflict = (message) => new Failure('CONFLICT', message);
export const unsupported = (message) => new Failure('UNSUPPORTED', message);
export const unavailable = (message, retryAfter) => new Failure('UNAVAILABLE', message, { retryAfter });
/** The configuration is wrong at the attribute with this path: "args", "artifact.checksum". */
export const invalidConfig = (attribute, message) => new Failure('INVALID_CONFIG', message, { attribute });

/** Turns any error into what grpc-js sends: a status with an ErrorDetail. */
export function toStatus(error) {
  const failure = error instanceof Failure ? error : new Failure('INTERNAL', String(error?.message ?? error));
  const code = codes[failure.code];
  const text = clip(failure.attribute ? `${failure.attribute}: ${failure.message}` : failure.message);
  const detail = {
    code: `ERROR_CODE_${failure.code}`,
    message: clip(failure.message),
    attribute: failure.attribute.toWellFormed(),
  };
  if (failure.retryAfter > 0) {
    detail.retryAfter = duration(failure.retryAfter);
  }
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', encodeStatus(code, text, detail));
  return { code, details: text, metadata };
}

/** Cuts a text to at most maxText bytes, at a character's border. */
export function clip(text, limit = maxText) {
  const bytes = Buffer.from(text.toWellFormed());
  if (bytes.length <= limit) {
    return text.toWellFormed();
  }
  let end = limit;
  while ((bytes[end] & 0xc0) === 0x80) { // within a character
    end--;
  }
  return `${bytes.toString('utf8', 0, end)} …`;
}
