// The services of the driver protocol, made from the .proto files when the process starts.
import protobuf from 'protobufjs';
import * as loader from '@grpc/proto-loader';

import driverProto from '../../proto/driver/v1/driver.proto';
import computeProto from '../../proto/driver/v1/compute.proto';
import goPluginProto from '../../wire/go-plugin.proto';
import grpcProto from '../../wire/grpc.proto';
import statusProto from '../../wire/status.proto';

const root = new protobuf.Root();
for (const known of ['any', 'duration', 'empty', 'timestamp']) {
  root.addJSON(protobuf.common.get(`google/protobuf/${known}.proto`).nested);
}
for (const source of [driverProto, computeProto, goPluginProto, grpcProto, statusProto]) {
  protobuf.parse(source, root); // keeps the names of fields in camelCase
}
root.resolveAll();

// 64-bit numbers are strings, because a JavaScript number holds only 53 bits of them; absent messages are
// null, absent lists and maps are empty.
const definitions = loader.fromJSON(root.toJSON(), { longs: String, enums: String, defaults: true });

/** The services by short name, as grpc.Server.addService takes them. */
export const services = {
  driver: definitions['instar.driver.v1.DriverService'],
  compute: definitions['instar.driver.v1.ComputeService'],
  broker: definitions['plugin.GRPCBroker'],
  stdio: definitions['plugin.GRPCStdio'],
  controller: definitions['plugin.GRPCController'],
  health: definitions['grpc.health.v1.Health'],
};

const Status = root.lookupType('google.rpc.Status');
const ErrorDetail = root.lookupType('instar.driver.v1.ErrorDetail');

/** Encodes what the trailer grpc-status-details-bin carries: a status with one ErrorDetail. */
export function encodeStatus(code, message, detail) {
  const value = ErrorDetail.encode(ErrorDetail.fromObject(detail)).finish();
  const any = { type_url: 'type.googleapis.com/instar.driver.v1.ErrorDetail', value };
  return Buffer.from(Status.encode(Status.create({ code, message, details: [any] })).finish());
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
