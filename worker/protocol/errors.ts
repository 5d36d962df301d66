/** The error of this layer: a value that cannot be written to the wire. Parsers never throw; only builders do. */

/** Why something could not be written. */
export type ProtocolErrorKind =
  /** JSON (with kombu's extensions) has no form for the value. */
  | 'unencodable'
  /** An option of a message is not in the range that Celery reads. */
  | 'invalid';

/** Thrown by builders and encoders; `message` names the place in the value and never the value itself. */
export class ProtocolError extends Error {
  readonly kind: ProtocolErrorKind;

  constructor(kind: ProtocolErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ProtocolError';
    this.kind = kind;
  }
}

/** An outcome of a parser: it never throws, and says in one sentence what is wrong. */
export type Parsed<T> =
  { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'malformed'; readonly why: string };

/** A parser's failure. */
export function malformed(why: string): { readonly kind: 'malformed'; readonly why: string } {
  return { kind: 'malformed', why };
}
