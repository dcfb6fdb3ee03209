// The services of the driver protocol.
import { messages, services as declared } from 'instar:protocol'; // which ../../protocol.mjs writes at the build

// 64-bit numbers are strings, because a JavaScript number holds only 53 bits of them; absent messages are
// null, absent lists and maps are empty.
const conversion = { longs: String, enums: String, defaults: true };

const serializer = (type) => (message) => type.encode(type.fromObject(message)).finish();
const deserializer = (type) => (data) => type.toObject(type.decode(data), conversion);

/** A service as grpc.Server.addService takes it. */
function service(name) {
  return Object.fromEntries(declared[name].map(({ name: method, requestStream, responseStream, request, response }) => [method, {
    path: `/${name}/${method}`,
    requestStream,
    responseStream,
    requestSerialize: serializer(request),
    requestDeserialize: deserializer(request),
    responseSerialize: serializer(response),
    responseDeserialize: deserializer(response),
  }]));
}

/** The services by short name. */
export const services = {
  driver: service('instar.driver.v1.DriverService'),
  compute: service('instar.driver.v1.ComputeService'),
  broker: service('plugin.GRPCBroker'),
  stdio: service('plugin.GRPCStdio'),
  controller: service('plugin.GRPCController'),
  health: service('grpc.health.v1.Health'),
};

const Status = messages['google.rpc.Status'];
const ErrorDetail = messages['instar.driver.v1.ErrorDetail'];

/** Encodes what the trailer grpc-status-details-bin carries: a status with one ErrorDetail. */
export function encodeStatus(code, message, detail) {
  const value = ErrorDetail.encode(ErrorDetail.fromObject(detail)).finish();
  const any = { type_url: 'type.googleapis.com/instar.driver.v1.ErrorDetail', value };
  return Buffer.from(Status.encode(Status.fromObject({ code, message, details: [any] })).finish());
}

/** A Date, or milliseconds since 1970, as a google.protobuf.Timestamp. */
export function timestamp(at) {
  const ms = Number(at);
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** A google.protobuf.Duration in milliseconds; null: 0. */
export function milliseconds(duration) {
  return duration === null ? 0 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** A number of milliseconds as a google.protobuf.Duration. */
export function duration(ms) {
  const seconds = Math.trunc(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}
