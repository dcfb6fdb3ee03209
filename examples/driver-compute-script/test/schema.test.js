import assert from 'node:assert/strict';
import test from 'node:test';

import { clip, toStatus, unavailable } from '../src/instar/failure.js';
import { decode, describe, expand, types } from '../src/instar/schema.js';

const schema = {
  name: { type: types.string, required: true, doc: 'Its name.' },
  args: { type: types.list, default: ['a'], doc: 'Its arguments.' },
};
const read = (value) => decode(schema, Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));

test('a configuration is read with its defaults', () => {
  assert.deepEqual(read({ name: 7 }), { name: '7', args: ['a'] });
  assert.deepEqual(read({ name: 'x', args: [true, 1.5] }), { name: 'x', args: ['true', '1.5'] });
  assert.deepEqual(read({ name: 'x', args: null }).args, ['a']);
});

test('a wrong configuration is refused at its attribute', () => {
  const wrong = [
    [{}, 'name'], [{ name: [] }, 'name'], [{ name: 'x', args: 'a' }, 'args'], [{ name: 'x', args: ['a', {}] }, 'args[1]'],
    [{ name: 'x', nmae: 1 }, 'nmae'], [{ name: 'x', constructor: 1 }, 'constructor'], ['[1]', ''], ['{', ''],
  ];
  for (const [value, attribute] of wrong) {
    assert.throws(() => read(value), { code: 'INVALID_CONFIG', attribute });
  }
});

test('a schema is described as the protocol has it', () => {
  const [name, args] = describe(schema);
  assert.equal(String(name.type), '"string"');
  assert.deepEqual([name.required, name.default.length], [true, 0]);
  assert.equal(String(args.type), '["list","string"]');
  assert.equal(String(args.default), '["a"]');
});

test('placeholders are replaced, and unknown ones refused', () => {
  const known = { id: 'i-1', ports: { http: 80 } };
  assert.equal(expand('${instance.id}:${port.http} $${HOME} $x {y}', 'a', known), 'i-1:80 ${HOME} $x {y}');
  for (const text of ['${port.smtp}', '${x}', '${', '${port.http', '${port.constructor}']) {
    assert.throws(() => expand(text, 'args[0]', known), { code: 'INVALID_CONFIG', attribute: 'args[0]' }, text);
  }
});

test('the text of an error fits into a header, and is valid', () => {
  assert.equal(clip('ä'.repeat(3), 3), 'ä …');
  assert.equal(clip('a\ud800'), 'a\ufffd');
  const status = toStatus(unavailable('x'.repeat(10_000), 1500));
  assert.equal(status.code, 14);
  assert.ok(status.details.length < 5000);
  assert.ok(status.metadata.get('grpc-status-details-bin')[0].length < 10_000);
});
