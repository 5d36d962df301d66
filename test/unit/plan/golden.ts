// Golden files: what is rendered is compared with what was rendered before; UPDATE_GOLDEN=1 writes it anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { stringify } from 'yaml';

const folder = new URL('../../golden/plan/', import.meta.url);

/** Compares an object, as YAML, with test/golden/plan/<name>.yaml. */
export function expectGolden(name: string, object: unknown): void {
  const file = new URL(`${name}.yaml`, folder);
  const text = stringify(object, { lineWidth: 0, singleQuote: true, aliasDuplicateObjects: false });
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
  let golden: string;
  try {
    golden = readFileSync(file, 'utf8');
  } catch {
    golden = `test/golden/plan/${name}.yaml is not there; run the test with UPDATE_GOLDEN=1`;
  }
  expect(text).to.equal(golden);
}
