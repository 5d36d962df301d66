/**
 * The small words in which the schema of the resource is written: a description, rules with their sentence, bounds.
 * Everything said here goes three ways: into the CRD, into `kubectl explain` and into the reference page.
 */
import { z } from 'zod';

/** A rule that the API server checks (CEL), and the one sentence that a user reads when it is broken. */
export interface Rule {
  /** CEL; `self` is the value the rule stands on, `oldSelf` what it was before (then it is checked on updates only). */
  readonly rule: string;
  /** Says what is wrong and what to write instead. */
  readonly message: string;
  /** The field to point at, when it is not the one that carries the rule: `.multiplier`. */
  readonly fieldPath?: string;
}

/** Attaches CEL rules to a schema. */
export function withRules<T extends z.ZodType>(schema: T, ...rules: readonly Rule[]): T {
  return schema.meta({ ...schema.meta(), 'x-kubernetes-validations': rules });
}

/** A list whose items are told apart by a key, so that two writers can each own some of them. */
export function listMap<T extends z.ZodType>(schema: T, ...keys: readonly string[]): T {
  return schema.meta({ ...schema.meta(), 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys });
}

/** An object of which only some fields are described; the API server keeps the others as they are. */
export function open<T extends z.ZodType>(schema: T): T {
  return schema.meta({ ...schema.meta(), 'x-kubernetes-preserve-unknown-fields': true });
}

/** An integer with bounds: what has none cannot be budgeted for by the API server, nor read by a user. */
export function integer(minimum: number, maximum: number): z.ZodInt {
  return z.int().min(minimum).max(maximum);
}

/** An RFC 3339 time, as Kubernetes writes it. */
export function time(): z.ZodString {
  return z.string().meta({ format: 'date-time' });
}
