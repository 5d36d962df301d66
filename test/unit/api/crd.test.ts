import { expect } from 'chai';
import { buildCustomResourceDefinition, buildRootSchema, printerColumns } from '../../../operator/api/v1alpha1/crd.ts';
import type { StructuralSchema } from '../../../operator/api/v1alpha1/structural.ts';
import { conditionCatalog } from '../../../operator/api/v1alpha1/conditions.ts';
import { renderReferencePage } from '../../../dev/generate/referencePage.ts';

/** A schema and all schemas below it, with their paths. */
function walk(schema: StructuralSchema, path: string): [path: string, schema: StructuralSchema][] {
  const properties = Object.entries(schema.properties ?? {}).flatMap(([name, child]) => walk(child, `${path}.${name}`));
  const items = schema.items === undefined ? [] : walk(schema.items, `${path}[]`);
  return [[path, schema], ...properties, ...items];
}

/** The schema that a column's path leads to. */
function schemaAt(jsonPath: string): StructuralSchema | undefined {
  const names = jsonPath
    .replaceAll(/\[[^\]]*\]/g, '')
    .split('.')
    .slice(1);
  return names.reduce<StructuralSchema | undefined>(
    (schema, name) => (schema?.items ?? schema)?.properties?.[name],
    buildRootSchema(),
  );
}

describe('the definition of WorkerPool', () => {
  const everything = walk(buildRootSchema(), '');

  it('gives every string of spec a longest length, so that rules have a bounded cost', () => {
    const unbounded = everything.filter(
      ([path, { type, maxLength, enum: values }]) =>
        path.startsWith('.spec') && type === 'string' && maxLength === undefined && values === undefined,
    );
    expect(unbounded.map(([path]) => path)).to.deep.equal([]);
  });

  it('says what to do instead in every rule: one sentence, no full stop', () => {
    for (const [path, schema] of everything) {
      for (const { message } of schema['x-kubernetes-validations'] ?? []) {
        expect(message, path)
          .to.match(/[^.]$/)
          .and.match(/;|because|must|needs/);
        expect(message.length, path).to.be.lessThan(250);
      }
    }
  });

  it('shows columns of fields that exist', () => {
    for (const { name, jsonPath } of printerColumns) {
      if (jsonPath.startsWith('.metadata')) continue;
      expect(schemaAt(jsonPath), name).to.not.equal(undefined);
    }
  });

  it('scales by paths that exist', () => {
    const { scale } = buildCustomResourceDefinition().spec.versions[0]!.subresources;
    for (const path of Object.values(scale)) expect(schemaAt(path), path).to.not.equal(undefined);
  });
});

describe('the reference page', () => {
  const page = renderReferencePage();

  it('has every field', () => {
    const spec = buildRootSchema().properties?.['spec'];
    if (spec === undefined) throw new Error('the schema has no spec');
    for (const [path] of walk(spec, 'spec')) {
      if (path === 'spec' || path.endsWith('[]')) continue;
      expect(page.includes(`\`${path}\``) || page.includes(`\`${path}[]\``), path).to.equal(true);
    }
  });

  it('has every sentence of a refusal and every reason of a condition', () => {
    const text = page.replaceAll('\\*', '*');
    for (const [, schema] of walk(buildRootSchema(), '')) {
      for (const { message } of schema['x-kubernetes-validations'] ?? []) expect(text).to.include(message);
    }
    for (const { reasons } of Object.values(conditionCatalog)) {
      for (const reason of Object.keys(reasons)) expect(text).to.include(`| \`${reason}\` |`);
    }
  });
});
