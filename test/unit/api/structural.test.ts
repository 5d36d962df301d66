import { expect } from 'chai';
import { z } from 'zod';
import { listMap, open, withRules } from '../../../operator/api/v1alpha1/schema.ts';
import { toStructuralSchema, withDefaultsInWords } from '../../../operator/api/v1alpha1/structural.ts';

const described = z.string().max(10).describe('A text.');

describe('toStructuralSchema', () => {
  it('keeps descriptions, defaults, enums, bounds and rules, and drops what zod adds to integers', () => {
    const schema = z.object({
      kind: z.enum(['A', 'B']).default('A').describe('A kind.'),
      size: withRules(z.int().max(5), { rule: 'self > 0', message: 'more' }).describe('A size.'),
      items: listMap(z.array(z.object({ name: described })).max(3), 'name').describe('Items.'),
    });
    expect(toStructuralSchema(schema)).to.deep.equal({
      type: 'object',
      properties: {
        kind: { description: 'A kind.', default: 'A', type: 'string', enum: ['A', 'B'] },
        size: {
          description: 'A size.',
          type: 'integer',
          maximum: 5,
          'x-kubernetes-validations': [{ rule: 'self > 0', message: 'more' }],
        },
        items: {
          description: 'Items.',
          type: 'array',
          maxItems: 3,
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: {
            type: 'object',
            required: ['name'],
            properties: { name: { description: 'A text.', type: 'string', maxLength: 10 } },
          },
        },
      },
      required: ['size', 'items'],
    });
  });

  it('gives an integer without an upper bound the format int64', () => {
    const schema = z.object({ generation: z.int().min(0).describe('A generation.') });
    expect(toStructuralSchema(schema).properties?.['generation']).to.deep.equal({
      description: 'A generation.',
      type: 'integer',
      minimum: 0,
      format: 'int64',
    });
  });

  it('lets an open object keep its unknown fields in the way of Kubernetes only', () => {
    expect(toStructuralSchema(open(z.looseObject({ name: described })))).to.deep.equal({
      type: 'object',
      'x-kubernetes-preserve-unknown-fields': true,
      required: ['name'],
      properties: { name: { description: 'A text.', type: 'string', maxLength: 10 } },
    });
  });

  const rejected: Record<string, { schema: z.ZodType; wantMessage: RegExp }> = {
    'a union': { schema: z.object({ a: z.union([z.string(), z.int()]).describe('A.') }), wantMessage: /^a: anyOf/ },
    'a discriminated union': {
      schema: z.object({
        a: z.discriminatedUnion('k', [z.object({ k: z.literal('x') }), z.object({ k: z.literal('y') })]).describe('A.'),
      }),
      wantMessage: /^a: (oneOf|anyOf)/,
    },
    'a null': { schema: z.object({ a: z.string().nullable().describe('A.') }), wantMessage: /^a: nullable/ },
    'a closed object': {
      schema: z.object({ a: z.strictObject({}).describe('A.') }),
      wantMessage: /^a: additionalProperties false/,
    },
    'a map of anything': {
      schema: z.object({ a: z.record(z.string(), z.unknown()).describe('A.') }),
      wantMessage: /^a: additionalProperties \{\}/,
    },
    'a loose object that is not open()': {
      schema: z.object({ a: z.looseObject({}).describe('A.') }),
      wantMessage: /^a: additional/,
    },
    'an unbounded list': {
      schema: z.object({ a: z.array(described).describe('A.') }),
      wantMessage: /^a: a list needs/,
    },
    'a field without a description': {
      schema: z.object({ a: z.object({ b: z.string() }).describe('A.') }),
      wantMessage: /^a\.b: has no description/,
    },
    'a field of a list item without a description': {
      schema: z.object({
        a: z
          .array(z.object({ b: z.string() }))
          .max(1)
          .describe('A.'),
      }),
      wantMessage: /^a\[\]\.b: has no description/,
    },
    'anything at all': { schema: z.object({ a: z.unknown().describe('A.') }), wantMessage: /^a: type undefined/ },
    'a pattern of zod, which speaks another dialect': {
      schema: z.object({ a: z.string().regex(/x/).describe('A.') }),
      wantMessage: /^a: pattern/,
    },
  };
  for (const [name, { schema, wantMessage }] of Object.entries(rejected)) {
    it(`refuses ${name}, naming the field`, () => {
      expect(() => toStructuralSchema(schema)).to.throw(wantMessage);
    });
  }
});

describe('withDefaultsInWords', () => {
  it('says scalar defaults at any depth and leaves objects and lists alone', () => {
    const schema = z.object({
      a: z
        .object({ n: z.int().default(3).describe('N.') })
        .prefault({})
        .describe('A.'),
      l: z
        .array(z.object({ b: z.boolean().default(false).describe('B.') }))
        .max(1)
        .default([])
        .describe('L.'),
    });
    const { properties } = withDefaultsInWords(toStructuralSchema(schema));
    expect(properties?.['a']?.description).to.equal('A.');
    expect(properties?.['a']?.properties?.['n']?.description).to.equal('N. Default: 3.');
    expect(properties?.['l']?.description).to.equal('L.');
    expect(properties?.['l']?.items?.properties?.['b']?.description).to.equal('B. Default: false.');
  });
});
