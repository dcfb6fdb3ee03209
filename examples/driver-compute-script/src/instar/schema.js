// Schemas of configuration blocks, and the check of a configuration against one. The daemon has checked it
// already; a driver does not trust its caller.
import { invalidConfig } from './failure.js';

/** The types that this driver uses, with their names in cty's JSON notation. */
export const types = {
  string: { cty: 'string', read: (value, path) => primitive(value, path, 'string') },
  list: { cty: ['list', 'string'], read: readList },
};

function primitive(value, path, want) {
  if (typeof value === 'string') {
    return value;
  }
  if (typeof value === 'number' || typeof value === 'boolean') {
    return String(value); // as HCL does
  }
  throw invalidConfig(path, `${kindOf(value)} given, a ${want} wanted`);
}

function readList(value, path) {
  if (!Array.isArray(value)) {
    throw invalidConfig(path, `${kindOf(value)} given, a list of strings wanted`);
  }
  return value.map((element, n) => primitive(element, `${path}[${n}]`, 'string'));
}

function kindOf(value) {
  if (value === null) {
    return 'null';
  }
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}

/** The schema as the protocol has it: a list of Attribute. */
export function describe(schema) {
  return Object.entries(schema).map(([name, a]) => ({
    name,
    type: Buffer.from(JSON.stringify(a.type.cty)),
    default: a.default === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(a.default)),
    required: a.required ?? false,
    sensitive: a.sensitive ?? false,
    doc: a.doc,
  }));
}

/** Reads the bytes of a configuration into an object that has every attribute of the schema. */
export function decode(schema, bytes) {
  const given = parse(bytes);
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(schema, name)) {
      throw invalidConfig(name, `there is no such attribute; there are: ${Object.keys(schema).join(', ')}`);
    }
  }
  const out = {};
  for (const [name, a] of Object.entries(schema)) {
    const value = given[name] ?? null; // null in HCL means: not set
    if (value === null && a.required) {
      throw invalidConfig(name, 'it is required');
    }
    out[name] = value === null ? (a.default ?? null) : a.type.read(value, name);
  }
  return out;
}

function parse(bytes) {
  if (bytes.length === 0) {
    return {};
  }
  let value;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalidConfig('', `the configuration is not JSON: ${error.message}`);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw invalidConfig('', `${kindOf(value)} given, an object wanted`);
  }
  return value;
}

/** Replaces ${port.NAME} and ${instance.id}; $${ is a literal ${. Anything else is refused as a typo. */
export function expand(text, path, { id, ports }) {
  return text.replaceAll(/\$\$\{|\$\{([^}]*)(\}?)/g, (whole, name, close) => {
    if (whole === '$${') {
      return '${';
    }
    if (close === '}' && name === 'instance.id') {
      return id;
    }
    const port = name?.startsWith('port.') ? name.slice('port.'.length) : '';
    if (close === '}' && Object.hasOwn(ports, port)) {
      return String(ports[port]);
    }
    throw invalidConfig(path, `unknown placeholder ${whole}; there are \${instance.id} and \${port.NAME}, and $\${ for a literal \${`);
  });
}
