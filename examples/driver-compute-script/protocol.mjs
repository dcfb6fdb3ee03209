// The services of the driver protocol as a JavaScript module, made from the .proto files by build.mjs. The
// driver could read them whenever it starts, as protobufjs does; this way its executable has the result.
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

const { Enum, Service, Type, converter, decoder, encoder } = protobuf;

/** The source of a module that exports messages and services by their full names, from these .proto files. */
export function protocolSource(files) {
  const root = new protobuf.Root();
  for (const known of ['any', 'duration', 'empty', 'timestamp']) {
    root.addJSON(protobuf.common.get(`google/protobuf/${known}.proto`).nested);
  }
  for (const file of files) {
    protobuf.parse(readFileSync(file, 'utf8'), root); // keeps the names of fields in camelCase
  }
  root.resolveAll();
  const all = [...descendants(root)];
  const messages = all.filter((object) => object instanceof Type);
  return [
    "import protobuf from 'protobufjs/minimal';",
    'const { Reader, Writer, util } = protobuf;',
    'export const messages = {};',
    'export const services = {};',
    ...messages.map(message),
    ...messages.map(typesOfFields), // when all messages are there, because they hold one another
    ...all.filter((object) => object instanceof Service).map(service),
  ].join('\n');
}

function* descendants(namespace) {
  for (const object of namespace.nestedArray) {
    yield object;
    if (object.nestedArray) {
      yield* descendants(object);
    }
  }
}

const reference = (type) => `messages[${JSON.stringify(type.fullName.slice(1))}]`;

/** A message: what protobufjs would make of it when it is first used, which reads fields' types in "types". */
function message(type) {
  const absent = type.fieldsArray.filter((field) => field.map).map((field) => `${JSON.stringify(field.name)}: util.emptyObject`);
  return `{
const types = [];
const ctor = function () {};
ctor.prototype = { ${absent.join(', ')} };
${reference(type)} = { types, ctor,
encode: ${encoder(type)},
decode: ${decoder(type)},
fromObject: ${converter.fromObject(type)},
toObject: ${converter.toObject(type)} };
}`;
}

function typesOfFields(type) {
  const types = type.fieldsArray.map(({ resolvedType }) => {
    if (resolvedType instanceof Enum) {
      return `{ values: ${JSON.stringify({ ...resolvedType.valuesById, ...resolvedType.values })} }`;
    }
    return resolvedType instanceof Type ? reference(resolvedType) : 'null';
  });
  return `${reference(type)}.types.push(${types.join(', ')});`;
}

function service(object) {
  const methods = object.methodsArray.map((method) => `{
  name: ${JSON.stringify(method.name)}, requestStream: ${Boolean(method.requestStream)}, responseStream: ${Boolean(method.responseStream)},
  request: ${reference(method.resolvedRequestType)}, response: ${reference(method.resolvedResponseType)},
}`);
  return `services[${JSON.stringify(object.fullName.slice(1))}] = [${methods.join(', ')}];`;
}
