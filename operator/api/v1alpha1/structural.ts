/**
 * From a zod schema to the structural schema that a CustomResourceDefinition may carry. Whatever the API server would
 * refuse or silently misunderstand is refused here, at generation, with the path of the field that has it.
 */
import { z } from 'zod';

/** A structural schema: the part of JSON Schema that CustomResourceDefinitions understand. */
export interface StructuralSchema {
  description?: string;
  type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  default?: unknown;
  enum?: readonly string[];
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  required?: readonly string[];
  properties?: Record<string, StructuralSchema>;
  items?: StructuralSchema;
  additionalProperties?: StructuralSchema;
  'x-kubernetes-preserve-unknown-fields'?: true;
  'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  'x-kubernetes-list-map-keys'?: readonly string[];
  'x-kubernetes-validations'?: readonly { rule: string; message: string; fieldPath?: string }[];
}

/** Everything that may stand in the output. What is not here is a construct that has no structural form. */
const allowedKeys = new Set([
  'description',
  'type',
  'default',
  'enum',
  'format',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'required',
  'properties',
  'items',
  'additionalProperties',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
]);
const allowedTypes = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean']);

/** Converts a schema. Throws an error that names the field when a part of it has no structural form. */
export function toStructuralSchema(schema: z.ZodType): StructuralSchema {
  return convert(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' }), '');
}

function convert(raw: unknown, path: string): StructuralSchema {
  const at = path === '' ? 'the schema' : path;
  const node = dropGeneratedBounds({ ...(raw as Record<string, unknown>) });
  for (const key of Object.keys(node)) {
    if (!allowedKeys.has(key))
      throw new Error(`${at}: ${key} has no structural form; write it without unions, literals and references`);
  }
  if (typeof node['type'] !== 'string' || !allowedTypes.has(node['type'])) {
    throw new Error(`${at}: type ${JSON.stringify(node['type'])} has no structural form; use exactly one type`);
  }
  const properties = node['properties'] as Record<string, unknown> | undefined;
  if (properties !== undefined) node['properties'] = mapProperties(properties, path);
  if (node['items'] !== undefined) {
    if (node['maxItems'] === undefined)
      throw new Error(`${at}: a list needs .max(n), or the API server refuses rules that walk it`);
    node['items'] = convert(node['items'], `${path}[]`);
  }
  convertAdditional(node, path, at);
  return node as unknown as StructuralSchema;
}

function mapProperties(properties: Record<string, unknown>, path: string): Record<string, StructuralSchema> {
  const converted: Record<string, StructuralSchema> = {};
  for (const [name, value] of Object.entries(properties)) {
    const child = path === '' ? name : `${path}.${name}`;
    const schema = convert(value, child);
    if (schema.description === undefined)
      throw new Error(`${child}: has no description; users read them with kubectl explain`);
    converted[name] = schema;
  }
  return converted;
}

/** Maps keep the schema of their values; an open object says so in Kubernetes' way only; a closed one does not exist. */
function convertAdditional(node: Record<string, unknown>, path: string, at: string): void {
  const additional = node['additionalProperties'];
  if (additional === undefined) return;
  if (node['x-kubernetes-preserve-unknown-fields'] === true) {
    delete node['additionalProperties'];
    return;
  }
  if (typeof additional !== 'object' || additional === null || Object.keys(additional).length === 0) {
    throw new Error(
      `${at}: additionalProperties ${JSON.stringify(additional)} has no structural form; describe the values, or use open()`,
    );
  }
  node['additionalProperties'] = convert(additional, `${path}.*`);
}

/** zod bounds every integer by what a JavaScript number holds; in a CRD that is noise. */
function dropGeneratedBounds(node: Record<string, unknown>): Record<string, unknown> {
  if (node['type'] !== 'integer') return node;
  if (node['minimum'] === Number.MIN_SAFE_INTEGER) delete node['minimum'];
  if (node['maximum'] === Number.MAX_SAFE_INTEGER) {
    delete node['maximum'];
    node['format'] = 'int64';
  }
  return node;
}

/** The schema with defaults said in the descriptions, because `kubectl explain` shows no default. */
export function withDefaultsInWords(schema: StructuralSchema): StructuralSchema {
  const { description, properties, items } = schema;
  const isWord = ['string', 'number', 'boolean'].includes(typeof schema.default);
  return {
    ...schema,
    ...(isWord && description !== undefined
      ? { description: `${description} Default: ${String(schema.default)}.` }
      : {}),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, property]) => [name, withDefaultsInWords(property)]),
          ),
        }),
    ...(items === undefined ? {} : { items: withDefaultsInWords(items) }),
  };
}
